// Runs the hooks of docs/guides/client.md, written to the working directory, against the stand-in.
import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { connect } from 'koaws/client'
import { fakeServer } from 'koaws/testing'
import { mount } from './react/index.mjs'

const hooks = await import(pathToFileURL(resolve('use-client.mjs')))
const server = fakeServer()
const make = () => connect('ws://localhost/chat', { WebSocket: server.WebSocket, minDelay: 1 })

// The state, and one connection for two subscriptions.
const client = make()
const heard = []
const listener = (data) => heard.push(data)
const shown = mount(() => {
  hooks.useMessage(client, 'said', listener)
  return hooks.useClientState(client).status
})
await server.connected()
await wait(0)
assert.deepEqual([server.attempts, server.connections], [1, 1])
assert.deepEqual([shown.rendered[0], shown.rendered.at(-1)], ['connecting', 'open'])

// Each message once, and none when it is not shown any more.
server.push('said', 'one')
await wait(0)
shown.rerender()
server.push('said', 'two')
await wait(0)
shown.unmount()
server.push('said', 'three')
await wait(0)
assert.deepEqual(heard, ['one', 'two'])
assert.equal(client.state.status, 'open')
client.close()
await wait(0)
assert.equal(server.connections, 0)

// A connection for as long as the component is shown.
const other = make()
const whileShown = mount(() => {
  hooks.useOpen(other)
  return hooks.useClientState(other).status
})
await server.connected()
await wait(0)
assert.equal(server.connections, 1)
assert.equal(whileShown.rendered.at(-1), 'open')
whileShown.unmount()
await wait(0)
assert.deepEqual([server.connections, other.state.status], [0, 'stopped'])
console.log('all hooks do what they say')
