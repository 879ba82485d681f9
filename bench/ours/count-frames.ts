import { defineProcessor } from '../../src/processor/processor.js'
import { createFrameCounter, type FrameCounter } from './frame-tally.js'

/** Reads two columns of each event; returns no promise. */
export default defineProcessor<FrameCounter>({
  open: ({ partition }) => createFrameCounter(partition),
  handle(event, counter) {
    counter.see(event)
  },
  close: (counter) => counter.close(),
})
