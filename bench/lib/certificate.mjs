import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A new key and certificate for localhost, as text: RSA of 2,048 bits. */
export function selfSigned() {
  const folder = mkdtempSync(join(tmpdir(), 'koaws-bench-'))
  try {
    const key = join(folder, 'key.pem')
    const cert = join(folder, 'cert.pem')
    const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
    execFileSync(
      'openssl',
      [
        ...[
          'req',
          '-x509',
          '-newkey',
          'rsa:2048',
          '-nodes',
          '-days',
          '2',
          '-subj',
          '/CN=localhost',
        ],
        ...['-addext', names, '-keyout', key, '-out', cert],
      ],
      { stdio: 'ignore' },
    )
    return { key: readFileSync(key, 'latin1'), cert: readFileSync(cert, 'latin1') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
