// test/chat.test.mjs
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { testApp } from 'koaws/testing'
import { app } from '../app.mjs'

const site = testApp(app)
after(() => site.close())

async function login(name) {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const body = `name=${name}`
  const response = await site.request('/login', { method: 'POST', headers, body })
  const cookie = response.headers['set-cookie'].map((one) => one.split(';')[0]).join('; ')
  return { headers: { cookie } }
}

test('a message reaches everybody in the room', async () => {
  const ann = await site.connect('/rooms/lobby/socket', await login('ann'))
  const bob = await site.connect('/rooms/lobby/socket', await login('bob'))
  ann.send('hi')
  assert.equal(await bob.next(), 'ann: hi')
})

test('without a login there is no connection', async () => {
  await assert.rejects(site.connect('/rooms/lobby/socket'), { status: 401, body: 'Log in first' })
})
