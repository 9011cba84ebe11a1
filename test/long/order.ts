// A long run of random interleavings: npx tsx test/long/order.ts [ops=100000] [seed]
import { randomOrder } from '../support/order.ts'
import { cleanUp } from '../support/server.ts'
import { keepResult } from './support/results.ts'

const [ops = '100000', given] = process.argv.slice(2)
const operations = Number(ops.replace('ops=', ''))
const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given)
const takeover = seed % 2 === 1
console.log(`seed ${seed}, ${operations} operations, context takeover ${takeover ? 'on' : 'off'}`)
const started = performance.now()
const { deliveries, connections, mismatches } = await randomOrder({
  seed,
  operations,
  connections: 50,
  rooms: 20,
  takeover,
})
const seconds = ((performance.now() - started) / 1000).toFixed(1)
for (const mismatch of mismatches) console.log(mismatch)
console.log(
  `${deliveries} deliveries to ${connections} connections, ${mismatches.length} mismatches, ${seconds} s`,
)
if (mismatches.length === 0 && operations >= 100_000) {
  keepResult('order', {
    seed,
    operations,
    takeover,
    connections,
    deliveries,
    mismatches: 0,
    seconds,
  })
}
await cleanUp()
process.exit(mismatches.length > 0 ? 1 : 0)
