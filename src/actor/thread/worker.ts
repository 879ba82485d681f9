/**
 * The entry of a worker thread: a kernel whose elsewhere is the host. Loaded from the compiled tree only.
 *
 * Nothing is caught here: an uncaught throw or rejection is this thread's death, and the host tells whom it concerns.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { Logger } from '../../world/logger.js'
import { realWorld } from '../../world/real.js'
import { Counters } from '../counters.js'
import { Kernel } from '../kernel.js'
import type { Batch } from './link.js'
import { threadLogger } from './thread-logger.js'
import type { ThreadBirth, ToThread } from './to-thread.js'
import { createUplink, type Uplink } from './uplink.js'

const port = parentPort!
const birth = workerData as ThreadBirth
let uplink: Uplink | undefined
const log: Logger = threadLogger(() => uplink)
const kernel = new Kernel({
  thread: birth.thread,
  origin: birth.origin,
  world: realWorld,
  log,
  counters: new Counters(birth.counters),
  ...(birth.identity === undefined ? {} : { identity: birth.identity }),
})
uplink = createUplink(kernel, (batch) => port.postMessage(batch))
kernel.elsewhere = uplink
port.on('message', (batch: Batch<ToThread>) => uplink.receive(batch))
