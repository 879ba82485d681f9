/**
 * Readings of one partition, shared by the processors that stand at the same place.
 *
 * A feed is one ordered reading with the processors that follow it and the frames that one of them has not finished. Its
 * window is in bytes: a processor that lags uses it up, and is then given a feed of its own, so that it holds nobody. When it
 * has caught up with another feed it joins that one again.
 *
 * Frames are checked by their marks: each names the one of its source before it. What was read before is dropped; where
 * one is missing the partition is read again from the first frame that the stream retains, and if it is still missing,
 * there is a gap, and nothing may be processed behind it.
 */
import { comparePositions, formatPosition } from '../../event/position.js'
import { TroupeError } from '../../world/error.js'
import type { FrameMark } from '../log.js'
import { type ArrivedFrame, unpacker } from './parcel.js'
import type { StreamPort, StreamReading } from './port.js'
import type { FrameMarks } from './stored.js'

export interface FeedsInit {
  readonly stream: StreamPort
  readonly subject: string
  /** Of whom, for errors. */
  readonly place: string
  /** Bytes that the slowest follower of a feed may have unfinished. */
  readonly window: number
  readonly deliver: (processor: string, frames: readonly ArrivedFrame[]) => void
  /** The stream is not the one that was read: it ends below, or goes on with something else. It has lost its tail. */
  readonly rewound: (last: number, delivered: number) => void
  /**
   * A reading began anew, having delivered up to `delivered`: whether that still stands. Nothing is delivered until it is
   * known, for what follows may join on to nothing that was read; false: this is over.
   */
  readonly resumed: (delivered: number, marks: FrameMarks) => Promise<boolean>
  readonly failed: (error: Error) => void
}

export interface Feeds {
  /** Reads for a processor behind `sequence`, knowing these marks by source. */
  follow(processor: string, sequence: number, marks: Readonly<Record<string, FrameMark>>): void
  /** This processor has finished everything up to and including this frame. */
  finished(processor: string, frame: ArrivedFrame): void
  /** It takes nothing more. */
  leave(processor: string): void
  stop(): void
  /** The feed that a processor reads from, and the last sequence delivered to it. */
  place(processor: string): { readonly feed: number; readonly delivered: number }
}

interface Follower {
  readonly name: string
  /** Delivered and not finished: how many at the end of the feed's frames. */
  open: number
}

interface Entry {
  readonly frame: ArrivedFrame
  /** What the reading is credited for it; 0 where another reading brought it. */
  credit: number
}

interface Feed {
  readonly id: number
  readonly followers: Map<string, Follower>
  readonly marks: Map<string, FrameMark>
  /** Frames that some follower has not finished, oldest first. */
  frames: Entry[]
  bytes: number
  delivered: number
  reading: StreamReading | null
  /** It has begun again from the first frame that is retained, for one that was missing before this sequence. */
  again: number | null
}

export function createFeeds(init: FeedsInit): Feeds {
  const feeds = new Set<Feed>()
  const feedOf = new Map<string, Feed>()
  let ids = 0
  let over = false

  function newFeed(delivered: number, marks: Iterable<readonly [string, FrameMark]>): Feed {
    const feed: Feed = {
      id: ++ids,
      followers: new Map(),
      marks: new Map(marks),
      frames: [],
      bytes: 0,
      delivered,
      reading: null,
      again: null,
    }
    feeds.add(feed)
    return feed
  }

  function begin(feed: Feed, from: number): void {
    const unpack = unpacker()
    /** Looks back that are not answered yet, and what came meanwhile: at most a window. */
    let looks = 0
    const waiting: Entry[] = []

    function look(): void {
      looks++
      init.resumed(feed.delivered, Object.fromEntries(feed.marks)).then((stands) => {
        looks--
        if (!stands || looks > 0) return
        for (const { frame, credit } of waiting.splice(0))
          if (!over && feed.reading === reading) arrived(feed, reading, frame, credit)
      }, fail)
    }

    const reading = init.stream.read({
      subject: init.subject,
      from,
      window: init.window,
      message(message) {
        if (over || feed.reading !== reading) return
        try {
          const frame = unpack.take(message)
          if (frame === null) reading.credit(message.payload.length)
          else if (looks > 0) waiting.push({ frame, credit: message.payload.length })
          else arrived(feed, reading, frame, message.payload.length)
        } catch (error) {
          fail(error as Error)
        }
      },
      resumed({ last, delivered }) {
        if (over || feed.reading !== reading) return
        if (last < delivered) init.rewound(last, delivered)
        else look()
      },
      failed: (error) => {
        if (feed.reading === reading) fail(error)
      },
    })
    feed.reading = reading
  }

  function fail(error: Error): void {
    if (over) return
    stop()
    init.failed(error)
  }

  function arrived(feed: Feed, reading: StreamReading, frame: ArrivedFrame, lastBytes: number): void {
    const known = feed.marks.get(frame.source)
    // Up to there everything comes again, that of other sources too.
    if (feed.again !== null && frame.sequence > feed.again) feed.again = null
    // Chunks before the last were credited as they came; only the last counts as the frame's.
    if (known !== undefined && comparePositions(frame.mark, known) <= 0 && feed.again !== null) {
      reading.credit(lastBytes)
      return
    }
    if (known !== undefined) {
      const joins = frame.previous === null ? -1 : comparePositions(frame.previous, known)
      if (joins > 0) missing(feed, frame, known)
      // Behind what was read stands something else than what stood there: this is another history.
      else if (joins < 0) init.rewound(frame.sequence, feed.delivered)
      if (joins !== 0) return
    }
    feed.marks.set(frame.source, frame.mark)
    feed.delivered = Math.max(feed.delivered, frame.sequence)
    feed.frames.push({ frame, credit: lastBytes })
    feed.bytes += frame.length
    for (const follower of feed.followers.values()) {
      follower.open++
      init.deliver(follower.name, [frame])
    }
    if (feed.bytes >= init.window / 2) split(feed)
    joinOthers(feed)
  }

  function missing(feed: Feed, frame: ArrivedFrame, known: FrameMark): void {
    feed.reading?.stop()
    if (feed.again !== null) {
      fail(
        new TroupeError({
          code: 'log-gap',
          message: `frames of source ${frame.source} between ${formatPosition(known)} and ${formatPosition(frame.previous!)} are missing in the log`,
          place: init.place,
          remedy:
            'somebody has removed messages from the stream; what is missing was confirmed to the source: compare the targets, then seek the processors behind it',
          permanent: true,
        }),
      )
      return
    }
    feed.again = frame.sequence
    for (const entry of feed.frames) entry.credit = 0
    begin(feed, 1)
  }

  function drop(feed: Feed): void {
    let most = 0
    for (const follower of feed.followers.values()) most = Math.max(most, follower.open)
    for (const { frame, credit } of feed.frames.splice(0, feed.frames.length - most)) {
      feed.bytes -= frame.length
      if (credit > 0) feed.reading?.credit(credit)
    }
  }

  /** Whoever lags behind the quickest follower gets a feed of its own. */
  function split(feed: Feed): void {
    if (feed.followers.size < 2) return
    let least = Number.POSITIVE_INFINITY
    for (const follower of feed.followers.values()) least = Math.min(least, follower.open)
    if (least > feed.frames.length / 2) return
    const slow = [...feed.followers.values()].filter((follower) => follower.open > feed.frames.length / 2)
    if (slow.length === 0) return
    const own = newFeed(feed.delivered, feed.marks)
    let most = 0
    for (const follower of slow) {
      feed.followers.delete(follower.name)
      own.followers.set(follower.name, follower)
      feedOf.set(follower.name, own)
      most = Math.max(most, follower.open)
    }
    own.frames = feed.frames.slice(feed.frames.length - most).map(({ frame }) => ({ frame, credit: 0 }))
    own.bytes = own.frames.reduce((sum, { frame }) => sum + frame.length, 0)
    drop(feed)
  }

  /** A feed without a reading goes on when half of what it holds is finished. */
  function resume(feed: Feed): void {
    if (feed.reading === null && !over && feed.bytes < init.window / 2) begin(feed, feed.delivered + 1)
  }

  /** Feeds that have come to the same frame become one. */
  function joinOthers(feed: Feed): void {
    if (feeds.size < 2) return
    for (const other of feeds) {
      if (other === feed || other.delivered !== feed.delivered || other.bytes + feed.bytes > init.window / 2) continue
      // Who reads again has the frames in an order of its own.
      if (other.again !== null || feed.again !== null) continue
      if (other.reading === null || feed.reading === null || !agree(feed.marks, other.marks)) continue
      // Both hold the newest frames of the same row, so the longer one has those of the other.
      const [longer, shorter] = other.frames.length >= feed.frames.length ? [other, feed] : [feed, other]
      for (const follower of shorter.followers.values()) {
        longer.followers.set(follower.name, follower)
        feedOf.set(follower.name, longer)
      }
      close(shorter)
      return
    }
  }

  function close(feed: Feed): void {
    const { reading } = feed
    feed.reading = null
    reading?.stop()
    feeds.delete(feed)
  }

  function stop(): void {
    over = true
    for (const feed of feeds) close(feed)
  }

  return {
    follow(processor, sequence, marks) {
      for (const feed of feeds)
        if (feed.delivered === sequence && feed.frames.length === 0 && sameMarks(feed.marks, marks)) {
          feed.followers.set(processor, { name: processor, open: 0 })
          feedOf.set(processor, feed)
          return
        }
      const feed = newFeed(sequence, Object.entries(marks))
      feed.followers.set(processor, { name: processor, open: 0 })
      feedOf.set(processor, feed)
      begin(feed, sequence + 1)
    },
    finished(processor, frame) {
      const feed = feedOf.get(processor)
      const follower = feed?.followers.get(processor)
      if (feed === undefined || follower === undefined) return
      let at = feed.frames.length - follower.open
      while (at < feed.frames.length && feed.frames[at]!.frame.sequence !== frame.sequence) at++
      if (at === feed.frames.length) return
      follower.open = feed.frames.length - at - 1
      drop(feed)
      // Where everything that may be delivered is, nothing more arrives: this is the moment to part.
      if (feed.bytes >= init.window / 2) split(feed)
      resume(feed)
    },
    leave(processor) {
      const feed = feedOf.get(processor)
      if (feed === undefined) return
      feedOf.delete(processor)
      feed.followers.delete(processor)
      if (feed.followers.size === 0) close(feed)
      else drop(feed)
    },
    stop,
    place(processor) {
      const feed = feedOf.get(processor)
      return { feed: feed?.id ?? 0, delivered: feed?.delivered ?? 0 }
    },
  }
}

/** One sequence may have held two frames, where a tail was lost between the two readings. */
function agree(a: ReadonlyMap<string, FrameMark>, b: ReadonlyMap<string, FrameMark>): boolean {
  for (const [source, mark] of a) {
    const other = b.get(source)
    if (other !== undefined && comparePositions(mark, other) !== 0) return false
  }
  return true
}

function sameMarks(a: ReadonlyMap<string, FrameMark>, b: Readonly<Record<string, FrameMark>>): boolean {
  const keys = Object.keys(b)
  return (
    keys.length === a.size &&
    keys.every((key) => {
      const mark = a.get(key)
      return mark !== undefined && comparePositions(mark, b[key]!) === 0
    })
  )
}
