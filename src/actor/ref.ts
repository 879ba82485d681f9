/** Addresses. A ref remembers the cell that it reached last, so that a tell on one thread is a push to a queue. */
import type { Ref } from './actor.js'
import type { Cell } from './cell.js'
import type { Kernel } from './kernel.js'

export class CellRef implements Ref {
  readonly path: string
  readonly #kernel: Kernel
  /** The actor that holds this ref; undefined outside of actors. */
  readonly #owner: Cell | undefined
  #cell: Cell | undefined

  constructor(kernel: Kernel, owner: Cell | undefined, path: string) {
    this.#kernel = kernel
    this.#owner = owner
    this.path = path
  }

  tell(message: unknown): boolean {
    if (this.#owner?.state === 'ended') return this.#kernel.refuse(this.path, message)
    return this.#send(message)
  }

  ask<R>(message: unknown, deadlineMs: number): Promise<R> {
    return this.#kernel.ask(this.path, message, deadlineMs, (asked) => this.#send(asked)) as Promise<R>
  }

  #send(message: unknown): boolean {
    let cell = this.#cell
    if (cell === undefined || cell.state === 'ended') {
      cell = this.#kernel.cells.get(this.path)
      this.#cell = cell
      if (cell === undefined) return this.#kernel.sendElsewhere(this.path, message)
    }
    if (this.#kernel.delay === undefined) return cell.offer(message)
    return this.#kernel.sendDelayed(this.#owner?.path ?? '/', this.path, message)
  }
}
