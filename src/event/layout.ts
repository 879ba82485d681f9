/**
 * The layout of a frame, version 1. Little-endian; offsets count from the frame's first byte.
 *
 * | header, 80 bytes | |
 * |---|---|
 * | 0 | u32 magic `TRPF` |
 * | 4 | u32 CRC-32 of everything from byte 8 to the end |
 * | 8 | u16 version |
 * | 10 | u8 codec (index into `codecs`) |
 * | 11 | u8 flags |
 * | 12 | u32 length of the frame |
 * | 16 | u32 number of records |
 * | 20 | u32 where the footer begins |
 * | 24, 32 | u64 major and minor of the first record |
 * | 40, 48 | u64 major and minor of the last record |
 * | 56, 64 | u64 major and minor of `previous` |
 * | 72 | u64 epoch |
 *
 * Records follow without gaps: a head of 40 bytes, then the body, which is the codec's.
 *
 * | record head | |
 * |---|---|
 * | 0 | u32 length with the head |
 * | 4 | u32 hash of the key |
 * | 8, 16 | u64 major and minor |
 * | 24 | f64 microseconds since the Unix epoch, NaN where unknown |
 * | 32 | u32 transaction |
 * | 36 | u16 table: its place in this frame's footer, or `noTable` |
 * | 38 | u8 operation (index into `operations`), or a marker's kind |
 * | 39 | u8 bits |
 *
 * Footer: u32 length of the lane block and the block (source, kind, lane as u32 length + UTF-8); u16 number of tables; for
 * each a u32 fingerprint, u32 length and its block (u32 schema version, namespace, entity, meta).
 *
 * The table of a record is a place in the footer, not the reader's index: a relation that changes between two records of
 * one frame has two places, and each record is read with the columns it was written under.
 */
import { TroupeError } from '../world/error.js'
import type { Operation } from './event.js'
import type { CodecName } from './frame.js'

export const frameMagic = 0x46505254
export const frameVersion = 1
export const headerBytes = 80
export const recordHeadBytes = 40

/** Stands in a record's head for "of no table": markers. */
export const noTable = 0xffff
/** Most tables that one frame can name. */
export const maxFrameTables = 0xffff
/** Longest frame, and so longest record: what a u32 can say, less room for the footer. */
export const maxFrameBytes = 0xf000_0000

export const header = {
  magic: 0,
  crc: 4,
  version: 8,
  codec: 10,
  flags: 11,
  length: 12,
  count: 16,
  footer: 20,
  first: 24,
  last: 40,
  previous: 56,
  epoch: 72,
} as const

export const flag = {
  replayable: 1,
  ordered: 2,
  previous: 4,
  firstPart: 8,
  lastPart: 16,
  previousPart: 32,
} as const

export const head = {
  length: 0,
  keyHash: 4,
  major: 8,
  minor: 16,
  time: 24,
  transaction: 32,
  table: 36,
  operation: 38,
  bits: 39,
} as const

export const bit = { part: 1, incomplete: 2, late: 4 } as const

/** Order is part of the layout: append only. */
export const operations: readonly Operation[] = [
  'insert',
  'update',
  'delete',
  'truncate',
  'read',
  'message',
  'append',
  'publish',
  'set',
  'expire',
]

/** The number that a record's head bears for an operation: `operationOf.insert`. */
export const operationOf: Readonly<Record<Operation, number>> = {
  insert: 0,
  update: 1,
  delete: 2,
  truncate: 3,
  read: 4,
  message: 5,
  append: 6,
  publish: 7,
  set: 8,
  expire: 9,
}

/** Operations from here on are markers. */
export const firstMarker = 0xf0
export const markerOperation = { heartbeat: 0xf0, lossWindow: 0xf1 } as const

/** Order is part of the layout: append only. */
export const codecs: readonly CodecName[] = ['pgoutput', 'resp-entry', 'msgpack', 'marker']

/**
 * What a frame that cannot be trusted throws. `frame-corrupt`: bytes are missing or changed. `frame-version`: written by a
 * newer Troupe. `record-corrupt`: the frame is whole, but a body in it is not what its codec says.
 */
export type FrameErrorCode = 'frame-corrupt' | 'frame-version' | 'record-corrupt'

export function frameError(code: FrameErrorCode, message: string, cause?: unknown): TroupeError {
  return new TroupeError({
    code,
    message,
    permanent: code === 'frame-version',
    remedy:
      code === 'frame-version'
        ? 'run the version of Troupe that wrote this log, or a newer one'
        : 'read again from the source; if it comes back, keep the frame and report it',
    ...(cause === undefined ? {} : { cause }),
  })
}

/** A view for numbers over the bytes' own memory, shared or not. */
export function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
