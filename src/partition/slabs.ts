/**
 * Shared memory for frames, written once and used again.
 *
 * A flush takes one slab for all its frames; the log returns it when every processor has finished them. Fresh shared
 * memory for each flush would be collected too late: at 500 MB/s the process grew to 1.5 GB before the collector came.
 * Sizes are powers of four from 16 KiB to 4 MiB; a larger flush gets memory of its own that is never kept.
 */
import type { Slab } from '../log/log.js'

const smallest = 16 * 1024
const largest = 4 * 1024 * 1024

export interface SlabPool {
  take(bytes: number): Slab
  giveBack(slab: Slab): void
}

/** @param keepBytes most idle memory that is kept for reuse; what comes back beyond it is let go */
export function createSlabPool(keepBytes: number): SlabPool {
  const idle = new Map<number, Slab[]>()
  let kept = 0
  let ids = 0
  return {
    take(bytes) {
      let size = smallest
      while (size < bytes) size *= 4
      const slab = size > largest ? undefined : idle.get(size)?.pop()
      if (slab !== undefined) {
        kept -= size
        return slab
      }
      return { id: ++ids, memory: new SharedArrayBuffer(size > largest ? bytes : size) }
    },
    giveBack(slab) {
      const size = slab.memory.byteLength
      if (size > largest || kept + size > keepBytes) return
      kept += size
      const shelf = idle.get(size)
      if (shelf === undefined) idle.set(size, [slab])
      else shelf.push(slab)
    },
  }
}
