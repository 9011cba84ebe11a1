import { createServer } from 'node:net'

/** The ports of one worker of mocha: two test files at a time never get the same one. */
const SHARE = 1_000
const first = 12_000 + (Number(process.env['MOCHA_WORKER_ID'] ?? 9) % 10) * SHARE
let next = Math.floor(Math.random() * SHARE)

/**
 * Returns a free port below the ephemeral range, so that listeners on port 0 and outgoing connections never take it
 * meanwhile. The same holds for the port plus 10,000, which a Redis cluster listens on as well.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + (next++ % SHARE)
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer()
      server.on('error', () => resolve(false))
      server.listen(port, () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}
