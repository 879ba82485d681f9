/**
 * What a thread counts, in shared memory: the host reads it without asking, and a dead thread's numbers are not lost.
 * Each thread writes its own only.
 */
export class Counters {
  readonly buffer: SharedArrayBuffer
  readonly #values: Float64Array

  constructor(buffer = new SharedArrayBuffer(24)) {
    this.buffer = buffer
    this.#values = new Float64Array(buffer)
  }

  deadLetter(): void {
    this.#values[0]!++
  }
  restart(): void {
    this.#values[1]!++
  }
  message(): void {
    this.#values[2]!++
  }

  get deadLetters(): number {
    return this.#values[0]!
  }
  get restarts(): number {
    return this.#values[1]!
  }
  get messages(): number {
    return this.#values[2]!
  }
}
