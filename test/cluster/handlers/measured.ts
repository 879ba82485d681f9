// Says of each row its key and how much it bears.
import { defineProcessor, record } from '../../../src/processor/processor.js'

export default defineProcessor({
  async handle(event) {
    const bulk = event.after?.text('bulk') ?? ''
    const value = { id: event.after?.text('id') ?? '', length: bulk.length, last: bulk.slice(-1) }
    return record(event, { operation: 'append', value })
  },
})
