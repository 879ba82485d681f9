/** The processor of `takeover`: what tells an event from every other, when it was due, and on which node it was handled. */
import { defineProcessor, record } from '../../src/index.js'

const node = process.env.TROUPE_BENCH_NODE ?? ''

export default defineProcessor({
  handle(event) {
    const row = event.after!
    const value = { key: row.text('key') ?? '', counter: row.text('counter') ?? '', due: row.text('due') ?? '', node }
    return record(event, { operation: 'append', value })
  },
})
