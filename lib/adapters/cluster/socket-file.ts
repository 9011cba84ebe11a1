// The socket of one instance, as a file in the folder of the application.

import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { codeOf, makeFolder } from './folder.ts'

/** The socket of one instance, as a file in the folder of the application. */
export class SocketFile {
  readonly path: string
  readonly #accept: (socket: Socket) => void
  #server: Server | null = null

  constructor(path: string, accept: (socket: Socket) => void) {
    this.path = path
    this.#accept = accept
  }

  /** Listens on a new socket. Then either of the functions is called once. */
  listen(listening: () => void, failed: (error: unknown) => void): void {
    const server = createServer(this.#accept)
    this.#server = server
    const fail = (error: unknown): void => {
      failed(error)
      server.close()
    }
    try {
      makeFolder(dirname(this.path))
      // Workers of node:cluster would otherwise share one socket of the primary.
      server.listen({ path: this.path, exclusive: true })
      server.unref()
    } catch (error) {
      fail(error)
      return
    }
    server.once('error', fail)
    server.once('listening', () => {
      server.off('error', fail)
      server.on('error', ignore)
      removeAtExit(this.path)
      try {
        chmodSync(this.path, 0o600)
      } catch {}
      listening()
    })
  }

  /** Whether the file is there, so that others find this instance. */
  get isThere(): boolean {
    try {
      return lstatSync(this.path).isSocket()
    } catch (error) {
      return codeOf(error) !== 'ENOENT' // that cannot be told
    }
  }

  stop(): void {
    this.#server?.close()
  }

  /** Never rejects. */
  async remove(): Promise<void> {
    paths.delete(this.path)
    await unlink(this.path).catch(ignore)
  }
}

/** Socket files of this process. */
const paths = new Set<string>()

function removeAtExit(path: string): void {
  if (paths.size === 0 && !process.listeners('exit').includes(removeAll))
    process.on('exit', removeAll)
  paths.add(path)
}

function removeAll(): void {
  for (const path of paths) {
    try {
      unlinkSync(path)
    } catch {}
  }
}

function ignore(): void {}
