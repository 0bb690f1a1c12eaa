# Rails' ActiveRecord and, below it, the gem pg. Arguments: port, database. Prints every answer; ends with "end".
require 'active_record'

PORT, DATABASE = ARGV

def say(*what) = puts(what.inspect)

def attempt(name)
  say(name, yield)
rescue StandardError => e
  say(name, e.class, e.message.lines.first)
end

# Five prepared statements are kept; those beyond are ended by SQL's DEALLOCATE.
ActiveRecord::Base.establish_connection(adapter: 'postgresql', host: '127.0.0.1', port: PORT, database: DATABASE, username: 'postgres',
                                        pool: 4, statement_limit: 5, schema_search_path: 'public',
                                        variables: { statement_timeout: '60s' })
ActiveRecord::Migration.verbose = false

class Tables < ActiveRecord::Migration[6.1]
  def change
    create_table(:authors, comment: 'who') do |t|
      t.string :name, null: false, limit: 50
      t.jsonb :meta, default: {}
      t.integer :tags, array: true
      t.binary :blob
      t.datetime :seen
      t.decimal :money, precision: 10, scale: 2
      t.uuid :u
    end
    create_table(:books) do |t|
      t.references :author, foreign_key: true
      t.string :title
      t.integer :lock_version, default: 0
    end
    add_index :authors, :name, unique: true
  end
end

class Pages < ActiveRecord::Migration[6.1]
  disable_ddl_transaction!
  def change
    add_column :books, :pages, :integer, default: 7
    add_index :books, :pages, algorithm: :concurrently
  end
end

class Broken < ActiveRecord::Migration[6.1]
  def change
    add_column :books, :bad, :integer
    execute 'select 1 / 0'
  end
end

class Author < ActiveRecord::Base
  has_many :books
end

class Book < ActiveRecord::Base
  belongs_to :author
end

def migrate(direction, count)
  list = [Tables.new('Tables', 1), Pages.new('Pages', 2), Broken.new('Broken', 3)].first(count)
  ActiveRecord::Migrator.new(direction, list, ActiveRecord::SchemaMigration).migrate.size
end

ActiveRecord::SchemaMigration.create_table
attempt('migrate') { migrate(:up, 2) }
attempt('broken migration') { migrate(:up, 3) }
c = ActiveRecord::Base.connection
say c.tables.sort, c.indexes(:books).map(&:name), c.foreign_keys(:books).map(&:to_table), c.primary_key(:books), c.table_comment(:authors)
say(c.columns(:authors).map { |x| [x.name, x.sql_type, x.default, x.null] })

ann = Author.create!(name: 'Änn', meta: { x: [1] }, tags: [1, nil], blob: "\0\xff\\".b, seen: Time.utc(2026, 1, 2, 3, 4, 5), money: '12.34',
                     u: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')
say Author.find(ann.id).attributes
20.times { |i| ann.books.create!(title: "T#{i}", pages: i) }
say Book.where(pages: 3..7).order(:id).pluck(:title), Book.count, Book.sum(:pages), Author.includes(:books).first.books.size
3.times { say((1..12).map { |n| Book.select((['id'] * n).join(',')).find_by(id: n).id }) }
say Book.insert_all([{ title: 'b1' }, { title: 'b2' }]).rows.size, Author.upsert({ name: 'Änn', money: 5 }, unique_by: :name).rows.size

# Transactions, errors in them, locks.
attempt('twice') { Author.create!(name: 'Änn') }
attempt('nested') do
  Book.transaction do
    Book.create!(title: 'in', author: ann)
    Book.transaction(requires_new: true) do
      Book.create!(title: 'nested', author: ann)
      raise ActiveRecord::Rollback
    end
    Book.where(title: %w[in nested]).count
  end
end
attempt('caught') do
  Book.transaction do
    begin
      Author.transaction(requires_new: true) { Author.create!(name: 'Änn') }
    rescue ActiveRecord::RecordNotUnique
      say 'not unique'
    end
    Book.count
  end
end
attempt('statements given up in a failed transaction') do
  Book.transaction do
    (1..12).each { |n| Book.select((['title'] * n).join(',')).find_by(id: n) }
    begin
      c.execute('select 1 / 0')
    rescue StandardError
      say 'failed'
    end
    (1..12).each { |n| Book.select((['pages'] * n).join(',')).find_by(id: n) }
  end
end
say((1..12).map { |n| Book.select((['pages'] * n).join(',')).find_by(id: n).pages })
%i[serializable repeatable_read read_committed].each do |level|
  attempt(level) { Book.transaction(isolation: level) { [c.select_value('show transaction_isolation'), Book.count] } }
end
attempt('stale') do
  one = Book.find(1)
  two = Book.find(1)
  one.update!(title: 'u1')
  two.update!(title: 'u2')
end
attempt('nowait') do
  Book.transaction do
    Book.lock('FOR UPDATE NOWAIT').find(6)
    Thread.new do
      Book.transaction { Book.lock('FOR UPDATE NOWAIT').find(6) }
    rescue StandardError => e
      e.class
    ensure
      ActiveRecord::Base.connection_pool.release_connection
    end.value
  end
end
attempt('advisory lock') { [c.get_advisory_lock(4711), c.release_advisory_lock(4711)] }
attempt('threads') do
  (1..8).map do |i|
    Thread.new do
      ActiveRecord::Base.connection_pool.with_connection do
        Book.transaction do
          Book.where(id: i).update_all(pages: 100 + i)
          Book.find(i).pages
        end
      end
    end
  end.map(&:value)
end

# A table that changes under statements, also within the transaction that has read it.
attempt('altered') do
  2.times { Book.find(1) }
  c.execute('alter table books add column extra int')
  Book.find(1).title
end
Book.reset_column_information
attempt('altered within') do
  Book.transaction do
    Book.pluck(:title).size
    c.execute('alter table books add column extra2 int')
    c.execute('update books set extra2 = id')
    c.select_value('select sum(extra2) from books')
  end
end
Book.reset_column_information
c.clear_cache!
say Book.find(3).attributes

# Resets of the session, and the driver below.
attempt('timeout') do
  c.execute('set statement_timeout = 50')
  c.execute('select pg_sleep(60)')
end
attempt('reset') { c.reset! && [c.select_value('show statement_timeout'), Book.find(4).id] }
attempt('discard') do
  Book.find(5)
  c.execute('discard all')
  Book.find(5).id
end
attempt('discarded') { Book.find(5).id }
attempt('reconnect') { c.reconnect! && [Book.count, c.active?] }
raw = c.raw_connection
attempt('copy') do
  raw.copy_data('copy books (title) from stdin') { 10.times { |i| raw.put_copy_data("c#{i}\n") } }
  Book.where("title like 'c%'").count
end
attempt('copy given up') do
  raw.copy_data('copy books (title) from stdin') do
    raw.put_copy_data("d\n")
    raise 'enough'
  end
end
attempt('described portal') do
  raw.transaction do
    raw.exec('declare cur cursor for select id, title from books order by id')
    [raw.describe_portal('cur').fields, raw.exec('fetch 3 cur').values, raw.exec_params('fetch 2 cur', []).values]
  end
end
raw.prepare('mine', 'select $1::int + 1')
say raw.describe_prepared('mine').nparams, raw.exec_prepared('mine', [1]).values
raw.exec('deallocate mine')
attempt('deallocated') { raw.describe_prepared('mine') }
raw.enter_pipeline_mode
raw.send_query_params('select $1::int', [1])
raw.send_query_params('select 1 / $1::int', [0])
raw.send_query_params('select 3', [])
raw.pipeline_sync
raw.send_prepare('piped', 'select $1::int')
raw.send_query_prepared('piped', [9])
raw.pipeline_sync
syncs = 0
while syncs < 2
  result = raw.get_result
  next if result.nil?

  say result.result_status
  syncs += 1 if result.result_status == PG::PGRES_PIPELINE_SYNC
end
raw.exit_pipeline_mode
attempt('rolled back migrations') { migrate(:down, 2) }
say c.tables.sort
say 'end'
