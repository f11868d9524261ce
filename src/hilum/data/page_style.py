"""How the pages of `hilum data check` and `hilum data explore` look."""

CSS = """:root{color-scheme:light}
body{font:15px/1.55 system-ui,sans-serif;color:#16242b;background:#f4f6f7;margin:0}
main{max-width:68rem;margin:0 auto;padding:2rem 1rem 4rem}
h1{margin:0;font-size:1.9rem}h2{margin:0 0 .2rem;font-size:1.15rem}
p{margin:.2rem 0 1rem;color:#5d6d75}
section{background:#fff;border:1px solid #d9e0e3;border-radius:.6rem;padding:1.2rem 1.4rem;
margin:1rem 0;overflow-x:auto}
dl{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}
dl div{background:#fff;border:1px solid #d9e0e3;border-radius:.6rem;padding:.6rem 1.2rem}
dt{font-size:.8rem;color:#5d6d75}dd{margin:0;font-size:1.5rem;font-weight:600}
section>img{display:block;max-width:100%;margin:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem;width:100%}
th,td{padding:.28rem .6rem;text-align:right;border-bottom:1px solid #e8edef}
th:first-child{text-align:left}thead th{color:#5d6d75;font-weight:500;vertical-align:bottom}
.row{display:grid;grid-template-columns:repeat(4,1fr);gap:.8rem;margin-bottom:1rem}
figure{margin:0}figure img{width:100%;border-radius:.3rem;background:#000}
figcaption{font-size:.78rem;color:#5d6d75;overflow-wrap:anywhere}
h3{margin:.6rem 0 .4rem;font-size:1rem}
"""
