/** Bytes that may be unfinished at once, reader and log together (protocol.md, "Frames and bounds"). */
const mebibyte = 1024 * 1024

export const creditBytes = {
  /** Of one partition. */
  partition: 4 * mebibyte,
  /** Of the whole pipeline; its sources share it evenly. */
  pipeline: 64 * mebibyte,
} as const
