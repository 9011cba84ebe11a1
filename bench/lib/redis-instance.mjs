import { PUBLISHER_BASE } from './message.mjs'
import { serveOrders } from './orders.mjs'
import { redisContestants } from './redis-contestants.mjs'
import { serve } from './rpc.mjs'

/**
 * One instance of a contestant. The orders to publish are lines "sequence,how many,size" over plain
 * TCP, the same for every contestant: the program measures publishing and delivering, not how a
 * library reads client messages.
 */
let contestant

function orders(publisher) {
  return serveOrders((line) => {
    const [s, count, size] = line.split(',').map(Number)
    for (let i = 0; i < count; i++) contestant.publish(publisher, s + i, size)
  })
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
