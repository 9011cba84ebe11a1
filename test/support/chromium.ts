/// <reference lib="dom" />
import { type Browser, chromium } from 'playwright-core'
import { pathOf } from './programs.ts'

/** Launches the Chromium of the system, headless and without its background traffic. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: pathOf('chromium'),
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}
