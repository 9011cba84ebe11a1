import { inspect } from 'node:util'
import { expect } from 'chai'
import koaWs, { accept, OptionsError } from '../../lib/index.ts'

describe('the limit options', () => {
  const wrong: [options: object, message: RegExp][] = [
    [{ heartbeat: 25 }, /"heartbeat" must be false, or \{ interval, timeout \}.*not 25\./],
    [{ heartbeat: 25_000 }, /"heartbeat" must be false, or \{ interval, timeout \}/],
    [{ heartbeat: true }, /"heartbeat" must be false.*not true\./],
    [{ heartbeat: null }, /"heartbeat" must be false.*not null\./],
    [{ heartbeat: [] }, /heartbeat takes an object of options, not an array\./],
    [{ heartbeat: { interval: 25 } }, /"interval" is 25 milliseconds\. Are these seconds\?/],
    [{ heartbeat: { interval: 99.9 } }, /"interval" is 99\.9 milliseconds\. Are these seconds\?/],
    [{ heartbeat: { timeout: 10 } }, /"timeout" is 10 milliseconds\. Are these seconds\?/],
    [
      { heartbeat: { interval: 0 } },
      /"interval" must be a number of milliseconds from 100 to 2147483647/,
    ],
    [
      { heartbeat: { interval: -1000 } },
      /"interval" must be a number of milliseconds from 100 to 2147483647/,
    ],
    [{ heartbeat: { interval: '1000' } }, /"interval" must be a number of milliseconds.*"1000"/],
    [{ heartbeat: { interval: Number.NaN } }, /"interval" must be a number of milliseconds/],
    [{ heartbeat: { interval: Infinity } }, /"interval" must be a number of milliseconds/],
    [{ heartbeat: { interval: 2 ** 31 } }, /"interval" must be a number of milliseconds/],
    [
      { heartbeat: { interval: 1000, timeout: 1001 } },
      /timeout \(1001\) above its interval \(1000\)/,
    ],
    [{ heartbeat: { timeout: 25_001 } }, /timeout \(25001\) above its interval \(25000\)/],
    [{ heartbeat: { intervall: 1000 } }, /no option "intervall"\. Did you mean "interval"\?/],
    [{ heartbeat: { time: 1000, grace: 5 } }, /heartbeat has no option "time"/],
    [{ hartbeat: false }, /no option "hartbeat"\. Did you mean "heartbeat"\?/],
    [{ flood: 5 }, /"flood" must be false, or \{ messages, per \}.*not 5\./],
    [{ flood: true }, /"flood" must be false.*not true\./],
    [{ flood: null }, /"flood" must be false.*not null\./],
    [{ flood: { messages: 0 } }, /"messages" must be a whole number above 0, not 0\./],
    [{ flood: { messages: 1.5 } }, /"messages" must be a whole number above 0/],
    [{ flood: { per: 1 } }, /"per" is 1 milliseconds\. Are these seconds\?/],
    [{ flood: { close: 10 } }, /"close" is 10 milliseconds\. Are these seconds\?/],
    [{ flood: { close: false } }, /"close" must be a number of milliseconds.*not false\./],
    [{ flood: { mesages: 5 } }, /flood has no option "mesages"\. Did you mean "messages"\?/],
    [{ maxRooms: 0 }, /"maxRooms" must be a whole number above 0, not 0\./],
    [{ maxRooms: Infinity }, /"maxRooms" must be a whole number above 0/],
    [{ maxRoom: 5 }, /Did you mean "maxRooms"\?/],
    [{ slowConsumer: 'kill' }, /"slowConsumer" must be one of "close", "drop", not "kill"\./],
    [{ slowConsumer: false }, /"slowConsumer" must be one of "close", "drop", not false\./],
    [{ slowConsumers: 'drop' }, /Did you mean "slowConsumer"\?/],
    [{ maxBufferedAmount: -1 }, /"maxBufferedAmount" must be a whole number above 0, not -1\./],
    [{ maxBufferedAmount: 0 }, /"maxBufferedAmount" must be a whole number above 0/],
    [{ maxBufferedAmount: '1mb' }, /"maxBufferedAmount" must be a whole number.*not "1mb"\./],
    [{ maxBufferAmount: 5 }, /Did you mean "maxBufferedAmount"\?/],
  ]
  for (const [options, message] of wrong) {
    const shown = JSON.stringify(options, (_, value) =>
      typeof value === 'number' ? String(value) : value,
    )
    it(`${shown} make koaWs() and accept() throw, and say what to do`, () => {
      expect(() => koaWs(options as never)).to.throw(OptionsError, message)
      expect(() => accept(() => {}, options as never)).to.throw(OptionsError, message)
    })
  }

  const right: object[] = [
    { heartbeat: false },
    { heartbeat: {} },
    { heartbeat: { interval: 100 } },
    { heartbeat: { timeout: 100 } },
    { heartbeat: { interval: 100, timeout: 100 } },
    { heartbeat: { interval: 5_000 } },
    { heartbeat: { interval: 2 ** 31 - 1, timeout: undefined } },
    { flood: false },
    { flood: {} },
    { flood: { messages: 1, per: 100, close: 100 } },
    { maxRooms: 1, maxBufferedAmount: 1, slowConsumer: 'drop' },
    { maxRooms: undefined, maxBufferedAmount: undefined, slowConsumer: undefined },
    { heartbeat: undefined, flood: undefined },
  ]
  for (const options of right) {
    it(`${inspect(options)} are valid for koaWs() and accept()`, () => {
      koaWs(options as never)
      accept(() => {}, options as never)
    })
  }

  it('fit the default heartbeat timeout to a short interval', () => {
    // The default timeout of 10 s is above an interval of 5 s; this is not an error of the user.
    expect(() => koaWs({ heartbeat: { interval: 5_000 } })).not.to.throw()
  })

  it('make ctx.ws() throw before it accepts', async () => {
    const { serve, rejected, openSocket, cleanUp } = await import('../support/server.ts')
    try {
      const site = await serve((app) =>
        app.use(async (ctx) => {
          await ctx.ws?.({ heartbeat: 25 } as never)
        }),
      )
      expect((await rejected(openSocket(site.port))).status).to.equal(500)
      expect(String(site.errors[0]?.error)).to.match(/"heartbeat" must be false/)
    } finally {
      await cleanUp()
    }
  })

  it('throw for options of zlib that zlib rejects', () => {
    expect(() => koaWs({ perMessageDeflate: { zlibDeflateOptions: { level: 99 } } })).to.throw(
      'zlib refuses "zlibDeflateOptions"',
    )
    expect(() => koaWs({ perMessageDeflate: { zlibDeflateOptions: { info: true } } })).to.throw(
      'without "info"',
    )
    expect(() => koaWs({ perMessageDeflate: { zlibDeflateOptions: { level: 9 } } })).not.to.throw()
  })
})
