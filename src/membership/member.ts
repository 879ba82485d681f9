/**
 * The heartbeat: one record a node, written anew at every beat, which says that the node lives, in which state it is, and
 * for each resource that it holds the beat at which that one last gave proof of life. So all leases of a node are
 * renewed by one write.
 *
 * What comes from the store is checked here. A record that cannot be read, or is of a newer form, is a problem to be
 * logged, never an exception.
 */
import { z } from 'zod'

/** The form of the records. A reader ignores what is newer. */
export const RECORD_FORM = 1

export type MemberState = 'active' | 'draining' | 'leaving'

export interface MemberRecord {
  readonly node: string
  /** Random; tells one process from every other under the same name. */
  readonly boot: string
  /** Of the package. Different ones work together. */
  readonly version: string
  /** Of what nodes say to each other and store. Different ones do not. */
  readonly protocol: number
  readonly state: MemberState
  /** Its share, relative to the others. */
  readonly weight: number
  /** Wall clock, ms; a label. */
  readonly startedAt: number
  readonly beat: number
  /** Resource: the beat of its last proof of life. */
  readonly holds: Readonly<Record<string, number>>
  /** Small figures for `troupe status`. */
  readonly status?: Readonly<Record<string, string | number | boolean | null>>
}

const name = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)
const resource = z.string().regex(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){1,2}$/)
const count = z.int().min(0)

const member = z.object({
  node: name,
  boot: name,
  version: z.string().max(64),
  protocol: count,
  state: z.enum(['active', 'draining', 'leaving']),
  weight: z.number().min(0.001).max(1_000),
  startedAt: z.number(),
  beat: count,
  holds: z.record(resource, count),
  status: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
})

/** Bytes of the largest record that is read. */
const MAX_RECORD = 256 * 1024

export type Read<R> =
  | { readonly kind: 'record'; readonly record: R }
  /** Of a form that this version does not know. */
  | { readonly kind: 'newer'; readonly problem: string }
  | { readonly kind: 'malformed'; readonly problem: string }

export function encodeRecord(record: object): Uint8Array {
  return Buffer.from(JSON.stringify({ form: RECORD_FORM, ...record }))
}

export function decodeMember(node: string, value: Uint8Array): Read<MemberRecord> {
  const read = decodeRecord<MemberRecord>(member, value)
  if (read.kind === 'record' && read.record.node !== node)
    return { kind: 'malformed', problem: `it is of node '${read.record.node}'` }
  return read
}

/** Bytes of the store against a schema. The problem names the field, never its content. */
export function decodeRecord<R>(schema: z.ZodType, value: Uint8Array): Read<R> {
  if (value.length > MAX_RECORD) return { kind: 'malformed', problem: `${value.length} bytes` }
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8'))
  } catch {
    return { kind: 'malformed', problem: 'it is no JSON' }
  }
  const form = typeof json === 'object' && json !== null && 'form' in json ? json.form : undefined
  if (typeof form === 'number' && form > RECORD_FORM)
    return { kind: 'newer', problem: `it is of form ${form}; this version knows ${RECORD_FORM}` }
  const parsed = schema.safeParse(json)
  if (parsed.success) return { kind: 'record', record: parsed.data as R }
  const at = parsed.error.issues[0]?.path.join('.')
  return { kind: 'malformed', problem: `its field '${at === '' || at === undefined ? 'root' : at}' is wrong` }
}
