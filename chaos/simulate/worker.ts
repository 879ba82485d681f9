/** A thread of the simulator: runs the shares of seeds that it is given. */
import { parentPort, workerData } from 'node:worker_threads'
import { forgoTraces } from './pool.js'
import { runSeeds, type Share } from './seeds.js'
import { suites } from './suites.js'

export interface WorkerOrder {
  readonly suite: string
  readonly planted: readonly string[]
}

const { suite: name, planted } = workerData as WorkerOrder
const suite = suites.find((one) => one.name === name)!
const port = parentPort!

forgoTraces()
await suite.prepare()
port.on('message', (share: Share) => {
  void runSeeds(suite, share, planted).then((outcome) => port.postMessage(outcome))
})
