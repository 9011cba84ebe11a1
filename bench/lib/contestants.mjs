export const contestants = {
  'ws-chain': { file: '../servers/ws.mjs', form: 'checked' },
  'ws-plain': { file: '../servers/ws.mjs', form: 'plain' },
  'koaws-after': { file: '../servers/koaws.mjs', form: 'after' },
  'koaws-inside': { file: '../servers/koaws.mjs', form: 'inside' },
  'koaws-captured': { file: '../servers/koaws.mjs', form: 'captured' },
  'koa-easy-ws': { file: '../servers/koa-easy-ws.mjs' },
  'fastify-websocket': { file: '../servers/fastify-websocket.mjs' },
  crossws: { file: '../servers/crossws.mjs' },
}
