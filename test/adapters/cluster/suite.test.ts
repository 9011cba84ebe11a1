import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clusterAdapter } from '../../../lib/adapters/cluster/index.ts'
import { adapterSuite } from '../../../lib/testing/index.ts'

describe('clusterAdapter()', () => {
  const suite = adapterSuite(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'koaws-'))
    const adapter = () => clusterAdapter({ name: 'test', folder, heartbeat: 200 })
    const stranger = adapter().connect('00000000000000000000', {
      received() {},
      up() {},
      down() {},
      gone() {},
    })
    return {
      adapter,
      inject: async (topic, payload) => void (await stranger.publish([topic], payload)),
      close: async () => {
        await stranger.close()
        rmSync(folder, { recursive: true, force: true })
      },
    }
  }, ['cut'])
  for (const { name, run } of suite) it(name, run).timeout(20_000)
})
