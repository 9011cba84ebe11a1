import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { messages } from '../../lib/index.ts'
import { needs, pathOf } from '../support/programs.ts'
import { cleanUp } from '../support/server.ts'
import { serveMessages } from '../support/talk.ts'

const TERMINAL = fileURLToPath(new URL('../../examples/clients/terminal.py', import.meta.url))

describe('examples/clients/terminal.py', () => {
  needs("Python's websockets")
  afterEach(cleanUp)

  it('sends each line of input, prints messages, and exits at the end of its input', async () => {
    const chat = messages().on('say', ({ connection, data }) => {
      connection.push('said', data)
      return { ok: true }
    })
    const { port, hub } = await serveMessages(chat)
    const child = spawn(
      pathOf("Python's websockets"),
      ['-B', TERMINAL, `ws://127.0.0.1:${port}/chat`],
      {
        stdio: ['pipe', 'pipe', 'ignore'],
      },
    )
    try {
      child.stdin.write('hi\n')
      const lines: string[] = []
      for await (const line of createInterface({ input: child.stdout })) {
        lines.push(line)
        if (lines.length === 2) child.stdin.end()
      }
      expect(lines).to.deep.equal(["{'text': 'hi'}", "{'ok': True}"])
      if (child.exitCode === null) await once(child, 'exit')
      expect(child.exitCode).to.equal(0)
      for (const { closed } of hub.localConnections.values()) await closed
      expect(hub.status().connections).to.equal(0)
    } finally {
      child.kill('SIGKILL')
    }
  })
})
