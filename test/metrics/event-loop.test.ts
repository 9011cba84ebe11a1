import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { EventLoop } from '../../lib/metrics/event-loop.ts'

describe('EventLoop', () => {
  it('has figures since the last reading', async () => {
    const loop = new EventLoop()
    try {
      await sleep(50) // Node's timer has begun
      loop.read()
      await sleep(50) // and has begun again
      const blocked = performance.now()
      while (performance.now() - blocked < 200);
      await sleep(50)
      const { 'delay.max': max, 'delay.p50': median, utilization } = loop.read()
      expect(max).to.be.at.least(0.15)
      expect(median).to.be.within(0, max)
      expect(utilization).to.be.within(0.01, 1)
    } finally {
      loop.stop()
    }
  })

  it('has no figure that is not a number, also right after the start', () => {
    const loop = new EventLoop()
    for (const value of Object.values(loop.read())) expect(value).to.be.at.least(0)
    loop.stop()
  })
})
