/**
 * The claim on a data directory: a local socket that answers `status` and `tree`, and by its being there keeps every
 * other process away.
 *
 * A claim is taken before anything is started and released last. While its process lives, also stopped by a signal, a
 * second claim is refused with `data-directory-in-use`. A dead owner's socket is moved aside and removed: moved first,
 * and asked once more, so that two who find it dead at the same moment do not remove each other's.
 * Not for directories that several machines share: a socket is known on its own machine alone.
 */
import { chmodSync, linkSync, lstatSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { messageOf, TroupeError } from '../world/error.js'
import type { Logger } from '../world/logger.js'
import type { World } from '../world/world.js'
import { knownSockets, makeDataDirectory, recordSocket, socketPath } from './place.js'
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

const attempts = 5

/** @throws TroupeError `data-directory-in-use` or `data-directory`, exit code 2 */
export async function claimDataDirectory(
  dataDirectory: string,
  { world, log }: { readonly world: World; readonly log: Logger },
): Promise<DataDirectoryClaim> {
  const directory = makeDataDirectory(dataDirectory)
  const socket = socketPath(directory)
  for (const known of knownSockets(directory))
    if (known !== socket && (await probe(known)) === 'alive') throw inUse(directory)
  const answering = answerer(world, log)
  for (let attempt = 0; attempt < attempts; attempt++) {
    const server = await listen(socket, answering.accept)
    if (server !== null) {
      chmodSync(socket, 0o600)
      recordSocket(directory, socket)
      return {
        directory,
        socket,
        serve: answering.serve,
        release: once(() => release(server, answering.sockets)),
      }
    }
    if (!(await removeDead(socket, world))) throw inUse(directory)
  }
  throw inUse(directory)
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

/** Null where the path is taken. */
function listen(path: string, accept: (socket: Socket) => void): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer(accept)
    server.maxConnections = operatorLimits.connections
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') return resolve(null)
      reject(
        new TroupeError({
          code: 'data-directory',
          message: `the socket of the data directory cannot be made: ${messageOf(error)}`,
          place: path,
          remedy: 'give a directory on a local file system that can be written (`data:` in the pipeline)',
          exitCode: 2,
          permanent: true,
        }),
      )
    })
    server.listen(path, () => {
      server.removeAllListeners('error')
      server.on('error', () => {})
      server.unref()
      resolve(server)
    })
  })
}

/** True once the path is free, or looks so: try again. False where a process answers. */
async function removeDead(path: string, world: World): Promise<boolean> {
  const state = await probe(path)
  if (state !== 'dead') return state === 'absent'
  const aside = `${path}.${process.pid}.${Buffer.from(world.randomBytes(4)).toString('hex')}`
  try {
    renameSync(path, aside)
  } catch {
    return true
  }
  // Between the probe and the move a new owner may have come: what was moved is asked again, and put back if it lives.
  const alive = (await probe(aside)) === 'alive'
  try {
    if (alive) linkSync(aside, path)
  } catch {
    // A third has taken the path meanwhile; it will be found by the next probe.
  }
  rmSync(aside, { force: true })
  return !alive
}

type Found = 'alive' | 'dead' | 'absent'

function probe(path: string): Promise<Found> {
  try {
    if (!lstatSync(path).isSocket())
      throw new TroupeError({
        code: 'data-directory',
        message: 'a file stands where the socket of the data directory should be',
        place: path,
        remedy: 'take it away, or give another data directory',
        exitCode: 2,
        permanent: true,
      })
  } catch (error) {
    if (error instanceof TroupeError) return Promise.reject(error)
    return Promise.resolve('absent')
  }
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
