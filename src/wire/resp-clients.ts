/**
 * Ends connections of our own earlier lives. A process that was killed may have bytes under way that Redis has not read
 * yet; once CLIENT KILL has replied, they can no longer take effect.
 */
import type { RespValue } from './resp-reply.js'

export type Call = (...args: readonly string[]) => Promise<RespValue>

/**
 * Kills every connection older than ours whose name `isOurs`; resolves when Redis has said that they are gone.
 * @returns how many there were
 * @throws RespError NOPERM where the user may not list or kill clients
 */
export async function killOlderClients(call: Call, isOurs: (name: string) => boolean): Promise<number> {
  const own = Number(await call('CLIENT', 'ID'))
  const list = String(await call('CLIENT', 'LIST'))
  let killed = 0
  for (const line of list.split('\n')) {
    const id = Number(/(?:^| )id=(\d+)/.exec(line)?.[1])
    const name = / name=(\S*)/.exec(line)?.[1] ?? ''
    // Ids only grow: a connection with a higher one is a successor, and it is we who are old.
    if (!(id < own) || !isOurs(name)) continue
    killed += Number(await call('CLIENT', 'KILL', 'ID', String(id)))
  }
  return killed
}
