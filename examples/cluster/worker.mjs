// One of the workers that PM2 starts. clusterAdapter() connects them.
import { clusterAdapter } from 'koaws/cluster'
import { makeApp } from '../chat/app.mjs'

const { NODE_APP_INSTANCE, PORT = '3000', SECRET } = process.env
if (!SECRET) throw new Error('Set SECRET, the same for all: one logs a user in, another checks it.')
const instance = `worker ${NODE_APP_INSTANCE}, pid ${process.pid}`

const { app, hub } = makeApp({
  adapter: clusterAdapter(),
  instance,
  onConnect: ({ state }) => console.log(`${instance}: ${state.user.name} is connected`),
})
const server = app.listen(Number(PORT), '127.0.0.1', () => process.send('ready'))
hub.attach(server)
hub.closeOnSignal()
