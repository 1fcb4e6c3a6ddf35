/** As much of Bun and Deno as the programs here use: a project for one of them has its types from `@types/bun`, or from
 * Deno itself. */

type Fetch = (request: Request, ...context: any[]) => Promise<Response>

declare const Bun: {
  serve(options: { fetch: Fetch; hostname?: string; port?: number; idleTimeout?: number }): {
    readonly url: URL
    stop(): Promise<void>
  }
}

declare const Deno: {
  serve(
    options: {
      hostname?: string
      port?: number
      onListen?: (address: { readonly hostname: string; readonly port: number }) => void
    },
    handler: Fetch,
  ): { shutdown(): Promise<void> }
}
