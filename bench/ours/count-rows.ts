/** The processor under test: counts, checks the order of each key, sums two columns. A row's columns are numbers, an entry's fields text. */

import { BroadcastChannel } from 'node:worker_threads'
import { defineProcessor } from '../../src/processor/processor.js'
import { createTallier, type Tallier, type Tally, type WorkShape } from '../harness/tally.js'
import { tallyChannel } from './poll.js'

const shape = JSON.parse(process.env.TROUPE_BENCH_SHAPE ?? '{"keys":1,"total":0}') as WorkShape

interface Resources {
  readonly tallier: Tallier
  readonly channel: BroadcastChannel
}

export default defineProcessor<Resources>({
  open({ partition }) {
    const tallier = createTallier(shape)
    const channel = new BroadcastChannel(tallyChannel)
    channel.onmessage = ({ data }) => {
      if (data === 'poll') channel.postMessage({ partition, tally: tallier.result() satisfies Tally })
    }
    ;(channel as unknown as { unref(): void }).unref()
    return { tallier, channel }
  },
  handle(event, { tallier }) {
    const row = event.after!
    tallier.add(Number(row.get('key')), Number(row.get('counter')), Number(row.get('amount')))
  },
  close: ({ channel }) => channel.close(),
})
