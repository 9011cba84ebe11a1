// A chat with rooms, in one process. With several: examples/cluster.
import { makeApp } from './app.mjs'

const { app, hub } = makeApp()
const server = app.listen(Number(process.env.PORT || 3000), '127.0.0.1', () => {
  console.log(`Chat on http://127.0.0.1:${server.address().port}/`)
})
hub.attach(server) // so that the hub can close the server even before its first request
hub.closeOnSignal()
