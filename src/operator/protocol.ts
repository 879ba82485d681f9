/**
 * What is spoken over a node's local socket: one JSON object a line, each request answered by one reply of its id.
 * Two unions, and the bounds of both sides.
 */
import type { TreeNode } from '../actor/actor.js'
import type { PipelineStatus } from '../pipeline/status-shape.js'
import type { TroupeErrorInit } from '../world/error.js'

export type OperatorRequest =
  | { readonly id: number; readonly ask: 'status' }
  | { readonly id: number; readonly ask: 'tree' }

export type OperatorReply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly error: TroupeErrorInit }

/** What a node can be asked, and what it answers. */
export interface OperatorAnswers {
  status(): Promise<PipelineStatus>
  tree(): Promise<readonly TreeNode[]>
}

export const operatorLimits = {
  /** Bytes of one request. */
  requestBytes: 4 * 1024,
  /** Bytes of one reply. */
  replyBytes: 64 * 1024 * 1024,
  connections: 32,
  /** ms after which a silent connection is closed. */
  idleMs: 60_000,
} as const

/** Calls `line` for each complete line. Gives false once a line is longer than `limit`: the peer speaks something else. */
export function lineSplitter(limit: number, line: (text: string) => void): (chunk: Buffer) => boolean {
  let parts: Buffer[] = []
  let held = 0
  return (chunk) => {
    let from = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      parts.push(chunk.subarray(from, end))
      const whole = Buffer.concat(parts)
      if (whole.length > limit) return false
      parts = []
      held = 0
      from = end + 1
      line(whole.toString('utf8'))
    }
    const rest = chunk.subarray(from)
    held += rest.length
    parts.push(rest)
    return held <= limit
  }
}

/** JSON that survives what drivers put into their details. */
export function encodeLine(message: OperatorRequest | OperatorReply): string {
  return `${JSON.stringify(message, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))}\n`
}
