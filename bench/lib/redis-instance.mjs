import { once } from 'node:events'
import { createServer } from 'node:net'
import { PUBLISHER_BASE } from './message.mjs'
import { redisContestants } from './redis-contestants.mjs'
import { serve } from './rpc.mjs'

/**
 * One instance of a contestant. Whom to publish comes as lines "sequence,how many,size" over plain TCP,
 * for every contestant in the same way: what is measured is publishing and delivering, not how a
 * library reads what a client sends.
 */
let contestant

async function orders(publisher) {
  const server = createServer({ noDelay: true }, (socket) => {
    let left = ''
    socket.on('error', () => {})
    socket.on('data', (data) => {
      const lines = (left + data.latin1Slice()).split('\n')
      left = lines.pop()
      for (const line of lines) {
        const [s, count, size] = line.split(',').map(Number)
        for (let i = 0; i < count; i++) contestant.publish(publisher, s + i, size)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}

serve({
  async start({ name, index, redis }) {
    const { file, form } = redisContestants[name]
    contestant = await import(file)
    const server = await contestant.start({ form, redis })
    return { port: server.address().port, orders: await orders(PUBLISHER_BASE + index) }
  },
  cpu() {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  status() {
    return contestant.status()
  },
})
