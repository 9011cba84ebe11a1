import Koa from 'koa'
import koaWs, { accept } from 'koaws'
import net from 'node:net'
const mk = async (opts, use, attach=true) => { const app = new Koa(); app.on('error', (e, w) => console.log('  app error:', e.message, Object.keys(w??{}).slice(0,4))); const hub = koaWs(opts); app.use(hub); app.use(use); const s = app.listen(0,'127.0.0.1'); await new Promise(r=>s.once('listening',r)); if (attach) hub.attach(s); return {app,hub,s,port:s.address().port} }
const raw = (port, lines, ms=1500) => new Promise(r => { const c = net.connect(port,'127.0.0.1'); let t=''; c.on('data',d=>t+=d.toString('latin1')); c.on('error',()=>{}); const fin=(w)=>{c.destroy();r(t.split('\r\n').slice(0,1)+' | '+w+' | '+JSON.stringify(t.slice(-60)))}; c.on('close',()=>fin('closed')); setTimeout(()=>fin('STILL OPEN'),ms); c.write(lines.join('\r\n')+'\r\n\r\n') })
const good = (extra=[], path='/')=>[`GET ${path} HTTP/1.1`,'Host: a.test','Connection: Upgrade','Upgrade: websocket','Sec-WebSocket-Version: 13','Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',...extra]
for (const attach of [true,false]) {
console.log('attach', attach)
const ctxws = async (ctx) => { if (!ctx.ws) { ctx.body='plain'; return } const c = await ctx.ws(); c.send('hi'); if (ctx.path==='/throw') throw new Error('boom'); if (ctx.path==='/throw403') ctx.throw(403,'no') }
const A = async (l)=>{const m = await mk({}, ctxws, attach); const r = await raw(m.port,l); await m.hub.close({server:true, timeout:200}); return r}
console.log('good', await A(good()))
console.log('foreign', await A(good(['Origin: https://evil.test'])))
console.log('no connection', await A(good().filter(x=>!x.startsWith('Connection'))))
console.log('v12', await A(good().map(x=>x.startsWith('Sec-WebSocket-V')?'Sec-WebSocket-Version: 12':x)))
console.log('badkey', await A(good().map(x=>x.startsWith('Sec-WebSocket-K')?'Sec-WebSocket-Key: x':x)))
console.log('body', await A(good(['Content-Length: 3'])))
console.log('post', await A(good().map((x,i)=>i?x:'POST / HTTP/1.1')))
console.log('throw', await A(good([], '/throw')))
console.log('throw403', await A(good([], '/throw403')))
}
{ const m = await mk({ filter: () => false }, (ctx)=>{ctx.body='plain'}, true); console.log('filter false, no neighbours, attached:', await raw(m.port, good(), 3000)); await m.hub.close({server:true,timeout:200}) }
{ const m = await mk({ filter: () => false }, (ctx)=>{ctx.body='plain'}, false); console.log('filter false, not attached 1st:', await raw(m.port, good(), 1500)); console.log(' 2nd:', await raw(m.port, good(), 3000)); await m.hub.close({server:true,timeout:200}) }
{ const m = await mk({}, (ctx)=>{ctx.ws.abandon()}, true); console.log('abandon without neighbours:', await raw(m.port, good(), 2000)); await m.hub.close({server:true,timeout:200}) }
console.log('detached:'); { const m = await mk({}, (ctx)=>{ctx.body = String(ctx.ws)}, true); m.hub.detach(m.s); console.log(await raw(m.port, good(), 1500)); await m.hub.close({server:true,timeout:200}); m.s.close() }
process.exit()
