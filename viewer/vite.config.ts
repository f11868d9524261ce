import { defineConfig } from "vite";

// Everything is a file of our own origin: the page runs under a strict content security policy.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/hilum/serve/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    license: { fileName: "third-party.md" },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
});
