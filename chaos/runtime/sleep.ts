/**
 * Loaded into a node before everything else (NODE_OPTIONS, so into its threads too): the node stops itself (SIGSTOP) with a
 * built batch in its hands. When it is woken, the first thing that it does is to send it.
 *
 * CHAOS_SLEEP names a file. While it exists, the first write to a socket that holds a commit to a subject that begins with
 * what is in it claims the file: `<file>.asleep` then holds the process and the subject. When the server refuses what this
 * socket sends (10071), there is `<file>.refused`. Nothing of the runtime knows of this.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'

export interface Asleep {
  readonly pid: number
  readonly subject: string
  /** The term that the batch claims. */
  readonly term: number
}

const file = process.env.CHAOS_SLEEP
const fence = 'Nats-Expected-Last-Subject-Sequence'
const refusal = '"err_code":10071'
/** In a seal, which whoever is refused makes again, of a later term. */
const seal = '"commit":0,'
/** ms that this thread stands still, so that it cannot run on while the signal is on its way. */
const settleMs = 250

if (file !== undefined) {
  const { write } = Socket.prototype
  Socket.prototype.write = function (this: Socket, ...given: unknown[]) {
    const [chunk] = given
    const built = chunk instanceof Uint8Array && existsSync(file) ? commitIn(chunk, file) : null
    if (built !== null && claim(file, built)) {
      this.on('data', (bytes: Uint8Array) => {
        if (Buffer.from(bytes).includes(refusal)) writeFileSync(`${file}.refused`, built.subject)
      })
      process.kill(process.pid, 'SIGSTOP')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, settleMs)
    }
    return Reflect.apply(write, this, given) as boolean
  } as typeof write
}

/** The commit that is wanted, in these bytes; null: it is not there. */
function commitIn(chunk: Uint8Array, file: string): Asleep | null {
  const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  try {
    const begin = bytes.indexOf(`HPUB ${readFileSync(file, 'utf8')}`)
    if (begin < 0 || bytes.indexOf(fence, begin) < 0 || bytes.indexOf(seal, begin) >= 0) return null
    const term = /"term":(\d+)/.exec(bytes.toString('latin1', begin))?.[1]
    const subject = bytes.toString('latin1', begin + 5, bytes.indexOf(' ', begin + 5))
    return term === undefined ? null : { pid: process.pid, subject, term: Number(term) }
  } catch {
    // Another was first, and has taken the file away.
    return null
  }
}

/** False: another thread or node was first. */
function claim(file: string, asleep: Asleep): boolean {
  const mine = `${file}.${process.pid}`
  try {
    renameSync(file, mine)
  } catch {
    return false
  }
  writeFileSync(mine, JSON.stringify(asleep))
  renameSync(mine, `${file}.asleep`)
  return true
}
