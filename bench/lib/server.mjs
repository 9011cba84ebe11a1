import { setTimeout as sleep } from 'node:timers/promises'
import { contestants } from './contestants.mjs'
import { startDelay, stopDelay } from './delay.mjs'
import { profiling } from './profile.mjs'
import { serve } from './rpc.mjs'

let server
let contestant

serve({
  async start({ name, behaviour }) {
    const { file, form, base = false } = contestants[name]
    contestant = await import(file)
    server = await contestant.start({ form, behaviour, base })
    return { port: server.address().port }
  },
  cpu() {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  async memory() {
    // The second collection frees the objects of finalizers that ran in the first.
    global.gc()
    await sleep(50)
    global.gc()
    return process.memoryUsage()
  },
  ...profiling,
  startDelay,
  stopDelay,
  status() {
    return contestant.status()
  },
})
