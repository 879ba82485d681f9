/** A definition as one would write it for comedy. */
import { type ComedyActor, type ComedyDefinition, comedyActor } from './adapter.js'

class Greeter implements ComedyDefinition {
  [topic: string]: unknown
  #greeting = 'Hello'
  #count = 0
  #self: ComedyActor | undefined

  initialize(self: ComedyActor, parameters: unknown): void {
    this.#self = self
    const given = parameters as { greeting?: string } | null
    if (given?.greeting !== undefined) this.#greeting = given.greeting
  }

  /** Topic `greet`. */
  greet(name: string): string {
    this.#count++
    return `${this.#greeting}, ${name}, from ${this.#self?.getName()}!`
  }

  /** Topic `count`. */
  count(): number {
    return this.#count
  }

  /** Topic `relay`: asks another actor. */
  relay({ to, name }: { to: string; name: string }): Promise<string> | undefined {
    return this.#self?.find(to).sendAndReceive<string>('greet', name)
  }

  /** Topic `stumble`: a throw ends the actor, and its supervisor starts it again. */
  stumble(): never {
    throw new Error('stumbled')
  }

  destroy(self: ComedyActor): void {
    self.getLog().info({ greeted: this.#count }, `${self.getName()} says goodbye`)
  }
}

export const greeter = comedyActor({ module: import.meta.url, export: 'greeter' }, () => new Greeter())
