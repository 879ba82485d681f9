// Fails for ever for the keys that are divisible by 7, once for those divisible by 5.
import { defineProcessor } from '../../../src/processor/processor.js'

export default defineProcessor<{ readonly failed: Set<string> }>({
  open: () => ({ failed: new Set<string>() }),
  handle(event, { failed }) {
    const id = Number(event.keyText)
    if (id % 7 === 0) throw new Error(`key ${id} is refused`)
    if (id % 5 === 0 && !failed.has(event.id)) {
      failed.add(event.id)
      throw new Error('once')
    }
    return event
  },
})
