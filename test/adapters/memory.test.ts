import { memoryAdapter } from '../../lib/index.ts'
import { adapterSuite } from '../../lib/testing/index.ts'

describe('memoryAdapter()', () => {
  const tests = adapterSuite(() => {
    const adapter = memoryAdapter()
    const stranger = adapter.connect('stranger', { received() {}, up() {}, down() {}, gone() {} })
    return {
      adapter: () => adapter,
      inject: async (topic, payload) => void (await stranger.publish([topic], payload)),
    }
  }, ['cut'])
  for (const { name, run } of tests) it(name, run)
})
