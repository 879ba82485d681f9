// Reads one column of each event and gives nothing to a sink.
import { defineProcessor } from '../../../src/processor/processor.js'

export default defineProcessor({
  handle(event) {
    event.after?.text('id')
  },
})
