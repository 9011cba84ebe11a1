import { createServer } from 'node:net'

/**
 * Returns a free port below the ephemeral range, so that listeners on port 0 and outgoing connections never take it
 * meanwhile. The same holds for the port plus 10,000, which a Redis cluster listens on as well.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 10_000)
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer()
      server.on('error', () => resolve(false))
      server.listen(port, () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}
