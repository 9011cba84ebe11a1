import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

const links = new Set<Link>()

/** The network between a page and a server: a TCP proxy that can be cut and restored. */
export class Link {
  /** The port of the server. */
  target: number
  readonly #server: Server
  readonly #pairs = new Set<{ client: Socket; server: Socket }>()
  #isCut = false

  private constructor(target: number) {
    this.target = target
    this.#server = createServer((client) => {
      client.on('error', ignore)
      if (this.#isCut) client.destroy()
      else this.#join(client, connect(this.target, '127.0.0.1'))
    })
    links.add(this)
  }

  static async to(target: number): Promise<Link> {
    const link = new Link(target)
    link.#server.listen(0, '127.0.0.1')
    await once(link.#server, 'listening')
    return link
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/`
  }

  /** Ends all connections, and refuses new ones. */
  cut(): void {
    this.#isCut = true
    for (const { client, server } of this.#pairs) {
      client.destroy()
      server.destroy()
    }
  }

  restore(): void {
    this.#isCut = false
  }

  /** Holds back what the server sends on the present connections. */
  mute(): void {
    for (const { client, server } of this.#pairs) {
      server.unpipe(client)
      server.pause()
    }
  }

  close(): void {
    this.cut()
    this.#server.close()
  }

  #join(client: Socket, server: Socket): void {
    const pair = { client, server }
    this.#pairs.add(pair)
    server.on('error', () => client.destroy())
    server.on('close', () => {
      this.#pairs.delete(pair)
      client.destroy()
    })
    client.on('close', () => server.destroy())
    client.pipe(server)
    server.pipe(client)
  }
}

/** Closes the links of a test. Called in `afterEach`. */
export function closeLinks(): void {
  for (const link of links) link.close()
  links.clear()
}

function ignore(): void {}
