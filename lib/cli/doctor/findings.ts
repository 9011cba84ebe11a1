// The findings of the doctor: stable ids, levels, and the change that each asks for.

/** The stable names of the findings; `docs/troubleshooting.md` has a section for each. */
export type FindingId =
  | 'dns-failed'
  | 'connect-failed'
  | 'tls-failed'
  | 'tls-untrusted'
  | 'tls-expired'
  | 'tls-name'
  | 'tls-expiring'
  | 'alpn-h2-only'
  | 'h2-websocket-failed'
  | 'plain-ws'
  | 'no-answer'
  | 'cut-before-answer'
  | 'not-http'
  | 'redirect-to-tls'
  | 'redirected'
  | 'upgrade-dropped'
  | 'http-1-0'
  | 'websocket-headers-dropped'
  | 'answered-200'
  | 'not-found'
  | 'bad-request'
  | 'unauthorized'
  | 'forbidden'
  | 'too-many'
  | 'draining'
  | 'backend-unreachable'
  | 'server-error'
  | 'rejected'
  | 'handshake-invalid'
  | 'host-rewritten'
  | 'host-not-allowed'
  | 'origin-rejected'
  | 'origin-any'
  | 'subprotocol-rejected'
  | 'subprotocol-missing'
  | 'subprotocol-dropped'
  | 'extension-invalid'
  | 'closed-at-once'
  | 'frames-invalid'
  | 'ping-lost'
  | 'buffered'
  | 'message-limit'
  | 'message-cut'
  | 'idle-closed'
  | 'close-unanswered'
  | 'restart-cut'
  | 'restart-unseen'
  | 'out-of-time'

/** `error`: browsers cannot connect, or lose the connection. `warning`: it works, with a risk. */
export type Level = 'error' | 'warning'

/** A finding of one run. */
export interface Finding {
  readonly id: FindingId
  readonly level: Level
  /** What was found, in sentences. */
  readonly text: string
  /** What to change. */
  readonly fix: string
  /** The page that says more, in the package and in the repository. */
  readonly page: string
}

const NGINX_UPGRADE =
  'Let the proxy pass Upgrade and Connection. In nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'

const error = (fix: string): { level: Level; fix: string } => ({ level: 'error', fix })
const warning = (fix: string): { level: Level; fix: string } => ({ level: 'warning', fix })

/** The findings by id, with the change that each asks for. */
export const FINDINGS: Readonly<Record<FindingId, { level: Level; fix: string }>> = {
  'dns-failed': error('Check the spelling, and the A and AAAA records of the name.'),
  'connect-failed': error(
    'Check that the server or proxy listens on this port and address, and that the firewall lets it through.',
  ),
  'tls-failed': error(
    'Check that this port speaks TLS 1.2 or 1.3: listen 443 ssl in nginx, bind :443 ssl in HAProxy.',
  ),
  'tls-untrusted': error(
    'Send the whole chain (fullchain.pem) of a public authority. For a private one, run with NODE_EXTRA_CA_CERTS=ca.pem; --insecure goes on without the check.',
  ),
  'tls-expired': error('Renew the certificate, and reload the proxy that has it open.'),
  'tls-name': error(
    'Use a name of the certificate, or get a certificate for this name. The proxy may have chosen its default site.',
  ),
  'tls-expiring': warning('Renew the certificate, and check why it was not renewed by itself.'),
  'alpn-h2-only': error(
    'Offer http/1.1 by ALPN too: browsers open WebSockets over HTTP/1.1 unless the server enables RFC 8441.',
  ),
  'h2-websocket-failed': error(
    'The proxy enables RFC 8441, so browsers use it. Let it pass extended CONNECT to the app, or turn RFC 8441 off.',
  ),
  'plain-ws': warning('Serve it over TLS, and connect with wss://.'),
  'no-answer': error(
    'Look for a listener that keeps the socket: the option filter of koaWs(), another upgrade listener, or a middleware that never ends.',
  ),
  'cut-before-answer': error(
    'Look into the log of the proxy, and of the app: a crash, a firewall, or a port that expects TLS.',
  ),
  'not-http': error('Check the port: another program answers there.'),
  'redirect-to-tls': error('Connect with wss://. Browsers do not follow redirects of a WebSocket.'),
  redirected: error(
    'Connect to the final address, or exclude this path from the redirect. Browsers do not follow redirects of a WebSocket.',
  ),
  'upgrade-dropped': error(NGINX_UPGRADE),
  'http-1-0': error('In nginx: proxy_http_version 1.1;'),
  'websocket-headers-dropped': error(
    'Let the proxy pass every Sec-WebSocket-* header. In HAProxy look for http-request del-header, in other proxies for a list of allowed headers.',
  ),
  'answered-200': error(
    'Check the path, and register the WebSocket before static files. If the app is right, the proxy sends this path elsewhere or drops Upgrade.',
  ),
  'not-found': error(
    'Check the path, and the location or route of the proxy for it. A router also answers 404 when a proxy dropped Upgrade.',
  ),
  'bad-request': error('Read the body, and compare the address with that of your page.'),
  unauthorized: error(
    "Give the doctor what your page sends: --header 'Cookie: …' or --token. Otherwise the login is wrong or expired.",
  ),
  forbidden: error(
    "Read the body. If the page needs a login, pass it: --header 'Cookie: …'. Also check the rules of the proxy and of its firewall.",
  ),
  'too-many': error('Raise the limit that the body names, or close connections.'),
  draining: error('Wait for the new instance. If it lasts, no instance has replaced this one.'),
  'backend-unreachable': error(
    'Start the app, and check the address behind the proxy (proxy_pass, server) and its health check.',
  ),
  'server-error': error('Look into the log of the app for the error.'),
  rejected: error('Read the body, and look up the status in the log of proxy and app.'),
  'handshake-invalid': error(
    'Let the proxy pass Sec-WebSocket-Key, and the headers of the 101: Upgrade, Connection and Sec-WebSocket-Accept.',
  ),
  'host-rewritten': error(
    'Keep the header. In nginx: proxy_set_header Host $http_host; in other proxies set X-Forwarded-Host, and app.proxy = true.',
  ),
  'host-not-allowed': error('Add the host to the option hosts of koaWs().'),
  'origin-rejected': error('Allow the page: the option origin of koaWs(), or that of your server.'),
  'origin-any': warning(
    'Allow only your pages, if the socket trusts a cookie: koaWs() does by default. Check that no proxy removes the header Origin. For a public feed: --ignore origin-any.',
  ),
  'subprotocol-rejected': error('Offer a subprotocol of the route: --protocol <name>.'),
  'subprotocol-missing': error(
    'Browsers fail a WebSocket when the server selects no offered subprotocol. Offer none, or let the route select one.',
  ),
  'subprotocol-dropped': error(
    'Let the proxy pass Sec-WebSocket-Protocol, in the request and in the 101.',
  ),
  'extension-invalid': error(
    'Let the proxy pass Sec-WebSocket-Extensions unchanged, or remove it.',
  ),
  'closed-at-once': error('Look up the close code, and the log of the app.'),
  'frames-invalid': error('Look for a proxy that changes the stream, and for a body in the 101.'),
  'ping-lost': error(
    'Let the server answer pings, and the proxy pass small frames without waiting for more.',
  ),
  buffered: warning(
    'Turn off buffering in the proxy, and look at the load of the server: its event loop answers pings.',
  ),
  'message-limit': error('Raise maxPayload of koaWs() or of the route, or send smaller messages.'),
  'message-cut': error(
    'Look for a limit of size or time in the proxy or its firewall: a server would close with 1009.',
  ),
  'idle-closed': error(
    'Raise the timeout of the proxy (nginx: proxy_read_timeout 1h; HAProxy: timeout tunnel 1h), or turn on the heartbeat of koaWs() with an interval below it.',
  ),
  'close-unanswered': warning(
    'Look for a proxy that ends connections without the close frame: clients see 1006 instead of the reason.',
  ),
  'restart-cut': warning(
    'Close the hub before the process ends: hub.closeOnSignal(). Give it the time: terminationGracePeriodSeconds, kill_timeout, worker_shutdown_timeout.',
  ),
  'restart-unseen': warning('Restart the server while the doctor waits, or raise --restart.'),
  'out-of-time': error('Raise --deadline, or find out what makes the server slow.'),
}

/** Returns a finding; the table has its fix, unless the case knows a better one. */
export function finding(id: FindingId, text: string, fix: string = FINDINGS[id].fix): Finding {
  return { id, level: FINDINGS[id].level, text, fix, page: `docs/troubleshooting.md#${id}` }
}
