/**
 * One question to a server over a bare socket, for readiness: says `request`, waits until the reply holds `expected`.
 * Bounded by `deadline` and 64 KiB of reply.
 */
import { connect } from 'node:net'
import type { World } from '../world/world.js'

export interface Probe {
  readonly host: string
  readonly port: number
  readonly request: string
  readonly expected: RegExp
  readonly deadline: number
}

/** The reply, as soon as it holds what is expected; undefined if it never does. */
export function ask(world: World, { host, port, request, expected, deadline }: Probe): Promise<string | undefined> {
  return new Promise((done) => {
    let reply = ''
    const socket = connect({ host, port })
    const timer = world.setTimer(deadline, () => finish(undefined))
    const finish = (answer: string | undefined) => {
      timer.cancel()
      socket.destroy()
      done(answer)
    }
    socket.on('error', () => finish(undefined))
    socket.on('close', () => finish(undefined))
    socket.on('connect', () => socket.write(request))
    socket.on('data', (chunk) => {
      reply += chunk.toString('latin1')
      if (expected.test(reply)) finish(reply)
      else if (reply.length > 65_536) finish(undefined)
    })
  })
}
