// One of the instances behind nginx, connected by Redis.
import { redisAdapter } from 'koaws/redis'
import { createClient } from 'redis'
import { makeApp } from '../chat/app.mjs'

const { INSTANCE, PORT, REDIS_URL, SECRET } = process.env
if (!SECRET) throw new Error('Set SECRET, the same for all: one logs a user in, another checks it.')
const instance = `instance ${INSTANCE}, pid ${process.pid}`

const { app, hub } = makeApp({
  adapter: redisAdapter({ client: createClient({ url: REDIS_URL }) }),
  instance,
  proxy: true, // nginx sets the X-Forwarded headers
  onConnect: ({ state }) => console.log(`${instance}: ${state.user.name} is connected`),
})
const server = app.listen(Number(PORT), '127.0.0.1')
hub.attach(server)
hub.closeOnSignal()
