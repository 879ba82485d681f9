import { defineProcessor } from '../../src/processor/processor.js'
import { createFrameCounter, type FrameCounter } from './frame-tally.js'

/** Reads two columns of each event in an async handler: one promise an event. */
export default defineProcessor<FrameCounter>({
  open: ({ partition }) => createFrameCounter(partition),
  async handle(event, counter) {
    counter.see(event)
  },
  close: (counter) => counter.close(),
})
