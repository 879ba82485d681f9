/** The two nodes of a pipeline under measurement, as children: started, joined, resumed at one moment, ended by SIGKILL. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { PipelineConfig } from '../../src/pipeline/schema.js'
import type { WorkShape } from '../harness/tally.js'
import { nodeNames, openLink, pausedBucket } from './cluster-ground.js'
import type { ClusterNodeInput, FromNode } from './cluster-node.js'

const joinMs = 45_000
const answerMs = 10_000

export interface BenchNode {
  readonly pid: number
  /** CPU that it had taken when it had joined. */
  readonly joinedCpuMs: number
  next<T extends FromNode['type']>(type: T, deadlineMs: number): Promise<Extract<FromNode, { type: T }>>
  report(): Promise<Extract<FromNode, { type: 'report' }>>
}

export interface NodePair {
  readonly reader: BenchNode
  readonly owner: BenchNode
  /** Lets them begin. */
  resume(): Promise<void>
  end(): void
}

export interface NodePairInput {
  readonly config: PipelineConfig
  readonly servers: string
  readonly shape: WorkShape
  readonly latency?: ClusterNodeInput['latency']
}

export async function startNodePair({ config, servers, shape, latency }: NodePairInput): Promise<NodePair> {
  const children: ChildProcess[] = []
  const link = await openLink(servers)
  const end = () => {
    for (const child of children) child.kill('SIGKILL')
    void link.close()
  }
  try {
    const bucket = await pausedBucket(link, config.name)
    const names = nodeNames()
    const start = async (role: 'reader' | 'owner') => {
      const input: ClusterNodeInput = {
        ...{ config, servers, node: names[role], role, shape },
        ...(latency === undefined ? {} : { latency }),
      }
      const module = fileURLToPath(new URL('./cluster-node.js', import.meta.url))
      const child = fork(module, [JSON.stringify(input)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
      children.push(child)
      const next = listenTo(child, role)
      const { cpuMs } = await next('joined', joinMs)
      const node: BenchNode = {
        pid: child.pid!,
        joinedCpuMs: cpuMs,
        next,
        report() {
          const answer = next('report', answerMs)
          child.send({})
          return answer
        },
      }
      return node
    }
    const [reader, owner] = await Promise.all([start('reader'), start('owner')])
    return { reader, owner, resume: bucket.resume, end }
  } catch (error) {
    end()
    throw error
  }
}

/** What came before somebody asked for it is kept. */
function listenTo(child: ChildProcess, role: string): BenchNode['next'] {
  const said: FromNode[] = []
  let heard: () => void = () => {}
  let over: Error | null = null
  child.on('message', (message: FromNode) => {
    said.push(message)
    heard()
  })
  child.on('exit', (code, signal) => {
    over = new Error(`the ${role}'s node ended with ${signal ?? code}`)
    heard()
  })
  return (type, deadlineMs) =>
    new Promise((resolve, reject) => {
      const deadline = setTimeout(() => {
        over ??= new Error(`the ${role}'s node did not say '${type}' within ${deadlineMs / 1000} s`)
        heard()
      }, deadlineMs)
      heard = () => {
        const at = said.findIndex((message) => message.type === type)
        if (at < 0 && over === null) return
        clearTimeout(deadline)
        heard = () => {}
        if (at < 0) reject(over!)
        else resolve(said.splice(at, 1)[0] as never)
      }
      heard()
    })
}
