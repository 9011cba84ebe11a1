// server.mjs
import { app, hub } from './app.mjs'

const server = app.listen(process.env.PORT ?? 3000)
hub.attach(server)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => hub.close({ server: true }))
}
