import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type Koa from 'koa'
import type { Adapter, Hub } from '../../../lib/index.ts'
import type { Chat } from './chat.ts'

const APP = new URL('../../../examples/chat/app.mjs', import.meta.url)
const instances = new Set<Instance>()

/** An instance of the chat in this process. All have the same secret. */
export interface Instance extends Omit<Chat, 'child'> {
  readonly hub: Hub
  /** @param timeout how long open connections may take to end, in milliseconds */
  close(timeout?: number): Promise<void>
}

/** Starts an instance of the chat with an adapter. */
export async function startInstance(adapter: Adapter): Promise<Instance> {
  const { makeApp } = await import(APP.href)
  const { app, hub }: { app: Koa; hub: Hub } = makeApp({ adapter })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const instance: Instance = {
    hub,
    url: `http://127.0.0.1:${port}/`,
    port,
    async close(timeout = 500) {
      instances.delete(instance)
      await hub.close({ timeout })
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  instances.add(instance)
  return instance
}

/** Closes the instances of a test. Called in `afterEach`. */
export async function closeInstances(): Promise<void> {
  await Promise.all([...instances].map((instance) => instance.close()))
}
