/**
 * The claim on a data directory: a local socket that answers `status` and `tree`, and by its being there keeps every
 * other process away.
 *
 * Every claimant listens on a socket of its own, of a name that is never used again, and then looks at all others: one
 * that answers is a rival, one that refuses is dead and removed. Who sees a rival gives way; only who sees none owns the
 * directory. So two owners are impossible: of two, the later to listen sees the earlier. Of several that come at
 * once the oldest waits for the others to withdraw. A process that is stopped by a signal still counts as alive.
 * Not for directories that several machines share: a socket is known on its own machine alone.
 */
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { basename, join } from 'node:path'
import { messageOf, TroupeError } from '../world/error.js'
import type { Logger } from '../world/logger.js'
import { sleep } from '../world/sleep.js'
import type { World } from '../world/world.js'
import { knownSockets, makeDataDirectory, socketDirectory } from './place.js'
import { encodeLine, lineSplitter, type OperatorAnswers, type OperatorReply, operatorLimits } from './protocol.js'

export interface DataDirectoryClaim {
  /** Real path. */
  readonly directory: string
  readonly socket: string
  /** From now on requests are answered; until then they are told that the node is starting. */
  serve(answers: OperatorAnswers): void
  /** Closes the socket and removes it. Never fails. */
  release(): Promise<void>
}

/** How often, and how many ms apart, the oldest of several claimants looks whether the others have withdrawn. */
const patience = { looks: 100, apart: 10 } as const

/** @throws TroupeError `data-directory-in-use` or `data-directory`, exit code 2 */
export async function claimDataDirectory(
  dataDirectory: string,
  { world, log }: { readonly world: World; readonly log: Logger },
): Promise<DataDirectoryClaim> {
  const directory = makeDataDirectory(dataDirectory)
  const answering = answerer(world, log)
  for (let look = 0; look < patience.looks; ) {
    const socket = join(socketPlace(directory), socketName(world))
    const server = await listen(socket, answering.accept)
    const withdraw = once(() => release(server, answering.sockets))
    let rivals: Rivals = 'none'
    for (; look < patience.looks; look++) {
      rivals = await rivalsOf(directory, socket)
      if (rivals !== 'younger') break
      await sleep(world, patience.apart)
    }
    // A rival that looked between our bind and our listen took us for dead and removed our name: try with another.
    if (rivals === 'none' && existsSync(socket)) return { directory, socket, serve: answering.serve, release: withdraw }
    await withdraw()
    if (rivals !== 'none') break
    look++
  }
  throw inUse(directory)
}

/** Sorts by age. */
function socketName(world: World): string {
  return `${Math.round(world.now()).toString(36).padStart(9, '0')}-${Buffer.from(world.randomBytes(4)).toString('hex')}.sock`
}

function socketPlace(directory: string): string {
  try {
    return socketDirectory(directory)
  } catch (error) {
    if (error instanceof TroupeError) throw error
    throw unusable(directory, error)
  }
}

function unusable(place: string, error: unknown): TroupeError {
  return new TroupeError({
    code: 'data-directory',
    message: `the socket of the data directory cannot be made: ${messageOf(error)}`,
    place,
    remedy: 'give a directory on a local file system that can be written (`data:` in the pipeline)',
    exitCode: 2,
    permanent: true,
  })
}

type Rivals = 'none' | 'older' | 'younger'

/** Removes the dead. All of it before anything is withdrawn: a claimant that is gone must not remove anything. */
async function rivalsOf(directory: string, own: string): Promise<Rivals> {
  let rivals: Rivals = 'none'
  for (const socket of knownSockets(directory)) {
    if (socket === own) continue
    const found = await probe(socket)
    if (found === 'dead') rmSync(socket, { force: true })
    if (found !== 'alive') continue
    if (basename(socket) < basename(own)) rivals = 'older'
    else if (rivals === 'none') rivals = 'younger'
  }
  return rivals
}

function inUse(directory: string): TroupeError {
  return new TroupeError({
    code: 'data-directory-in-use',
    message: 'another process runs on this data directory',
    place: directory,
    remedy: 'stop it (`troupe status --data DIR` tells its pid), or give this pipeline another `data`',
    exitCode: 2,
    permanent: true,
  })
}

function listen(path: string, accept: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(accept)
    server.maxConnections = operatorLimits.connections
    server.once('error', (error) => reject(unusable(path, error)))
    server.listen(path, () => {
      server.removeAllListeners('error')
      server.on('error', () => {})
      server.unref()
      chmodSync(path, 0o600)
      resolve(server)
    })
  })
}

type Found = 'alive' | 'dead' | 'absent'

function probe(path: string): Promise<Found> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const end = (found: Found): void => {
      socket.destroy()
      resolve(found)
    }
    socket.once('connect', () => end('alive'))
    // A full backlog or a refused permission is an owner too.
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'ECONNREFUSED' ? 'dead' : error.code === 'ENOENT' ? 'absent' : 'alive'),
    )
  })
}

function answerer(world: World, log: Logger) {
  let answers: OperatorAnswers | null = null
  const sockets = new Set<Socket>()
  const reply = async (socket: Socket, text: string): Promise<void> => {
    const answer = await answerTo(text, answers)
    if (!socket.destroyed) socket.write(encodeLine(answer))
  }
  const accept = (socket: Socket): void => {
    sockets.add(socket)
    socket.unref()
    const idle = () => world.setTimer(operatorLimits.idleMs, () => socket.destroy(), { background: true })
    let silent = idle()
    socket.on('close', () => {
      silent.cancel()
      sockets.delete(socket)
    })
    socket.on('error', (error) => log.debug({ error: error.message }, 'a client of the local socket has gone'))
    // One request at a time: a client that asks faster than it reads waits.
    let busy: Promise<void> = Promise.resolve()
    const feed = lineSplitter(operatorLimits.requestBytes, (text) => {
      busy = busy.then(() => reply(socket, text)).catch(() => void socket.destroy())
    })
    socket.on('data', (chunk: Buffer) => {
      silent.cancel()
      silent = idle()
      socket.pause()
      if (!feed(chunk)) return void socket.destroy()
      void busy.then(() => socket.resume())
    })
  }
  return {
    accept,
    sockets,
    serve(given: OperatorAnswers): void {
      answers = given
    },
  }
}

async function answerTo(text: string, answers: OperatorAnswers | null): Promise<OperatorReply> {
  const request = parseRequest(text)
  const id = request?.id ?? 0
  const refuse = (code: string, message: string): OperatorReply => ({ id, ok: false, error: { code, message } })
  if (request === null) return refuse('bad-request', 'a request is one line of JSON: {"id": 1, "ask": "status"}')
  if (answers === null) return refuse('node-starting', 'the node is starting')
  try {
    if (request.ask === 'status') return { id, ok: true, value: await answers.status() }
    if (request.ask === 'tree') return { id, ok: true, value: await answers.tree() }
    return refuse('bad-request', 'it can be asked for status and tree')
  } catch (error) {
    if (error instanceof TroupeError) return { id, ok: false, error: error.toJSON() }
    return refuse('operator', messageOf(error))
  }
}

function parseRequest(text: string): { readonly id: number; readonly ask: string } | null {
  try {
    const request = JSON.parse(text) as { id?: unknown; ask?: unknown } | null
    if (typeof request?.id !== 'number' || typeof request.ask !== 'string') return null
    return { id: request.id, ask: request.ask }
  } catch {
    return null
  }
}

function once(run: () => Promise<void>): () => Promise<void> {
  let result: Promise<void> | null = null
  return () => {
    result ??= run()
    return result
  }
}

/** Node removes the socket's file as it closes the server. */
function release(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    for (const socket of sockets) socket.destroy()
  })
}
