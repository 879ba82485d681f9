/** Asks a running node over the local socket of its data directory. */
import { realpathSync } from 'node:fs'
import { connect } from 'node:net'
import { TroupeError, type TroupeErrorInit } from '../world/error.js'
import type { World } from '../world/world.js'
import { knownSockets } from './place.js'
import { encodeLine, lineSplitter, type OperatorAnswers, type OperatorReply, operatorLimits } from './protocol.js'

type Answer<Ask extends keyof OperatorAnswers> = Awaited<ReturnType<OperatorAnswers[Ask]>>

export interface AskOptions {
  readonly world: World
  /** ms; default 5,000. */
  readonly deadlineMs?: number
}

/** @throws TroupeError `not-running`, `node-silent`, or what the node replied with */
export async function askNode<Ask extends keyof OperatorAnswers>(
  dataDirectory: string,
  ask: Ask,
  options: AskOptions,
): Promise<Answer<Ask>> {
  let refusal: unknown = null
  for (const socket of socketsOf(dataDirectory)) {
    try {
      const answer = await askSocket(socket, ask, options)
      if (answer !== null) return answer.value as Answer<Ask>
    } catch (error) {
      // The owner's answer goes before that of one who has only come to claim.
      refusal ??= error
    }
  }
  if (refusal !== null) throw refusal
  throw new TroupeError({
    code: 'not-running',
    message: 'no pipeline runs on this data directory',
    place: dataDirectory,
    remedy:
      'start it with `troupe run`, or name the data directory of the one that runs: --data DIR (a node of a cluster: <data>/nodes/<node>)',
  })
}

function socketsOf(dataDirectory: string): readonly string[] {
  try {
    return knownSockets(realpathSync(dataDirectory))
  } catch {
    return []
  }
}

/** Null where nobody listens. */
function askSocket(
  path: string,
  ask: keyof OperatorAnswers,
  { world, deadlineMs = 5_000 }: AskOptions,
): Promise<{ readonly value: unknown } | null> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const deadline = world.setTimer(deadlineMs, () =>
      fail({
        code: 'node-silent',
        message: `the node did not answer within ${deadlineMs} ms`,
        place: path,
        remedy: 'its main thread is busy or stopped; look at the process',
      }),
    )
    const end = (): void => {
      deadline.cancel()
      socket.destroy()
    }
    const fail = (init: TroupeErrorInit): void => {
      end()
      reject(new TroupeError(init))
    }
    const feed = lineSplitter(operatorLimits.replyBytes, (text) => {
      const reply = parseReply(text)
      if (reply === null) return fail({ code: 'node-silent', message: 'what listens there is no node', place: path })
      if (!reply.ok) return fail({ ...reply.error, place: reply.error.place ?? path })
      end()
      resolve({ value: reply.value })
    })
    socket.once('connect', () => socket.write(encodeLine({ id: 1, ask })))
    socket.on('data', (chunk: Buffer) => {
      if (!feed(chunk)) fail({ code: 'node-silent', message: 'the reply is too long', place: path })
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      end()
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return resolve(null)
      reject(
        new TroupeError({ code: 'not-running', message: `the node cannot be reached (${error.code})`, place: path }),
      )
    })
    socket.once('close', () => fail({ code: 'node-silent', message: 'the node closed the connection', place: path }))
  })
}

function parseReply(text: string): OperatorReply | null {
  try {
    const reply = JSON.parse(text) as OperatorReply | null
    return typeof reply?.ok === 'boolean' ? reply : null
  } catch {
    return null
  }
}
